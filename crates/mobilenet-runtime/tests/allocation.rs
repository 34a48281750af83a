//! Once it has seen a batch of some size, a session allocates nothing.

#[allow(dead_code, reason = "each test uses a part of it")]
mod common;

use common::{network, values};
use mobilenet_runtime::{Model, Session};

#[test]
fn the_second_call_allocates_nothing() {
    let model = Model::new(&network(32, 32)).unwrap();
    let (images, picture) = (values(9 * 32 * 32 * 3, 1), vec![9; 40 * 50 * 3]);
    for threads in [1, 2] {
        let mut session = Session::new(&model, threads).unwrap();
        let mut calls = || {
            session.run(&images[..32 * 32 * 3]).unwrap();
            session.run(&images).unwrap();
            session.classify(&picture, 40, 50).unwrap();
        };
        calls();
        let counted = allocation_counter::measure(calls);
        assert_eq!(counted.count_total, 0, "{threads} threads: {counted:?}");
    }
}
