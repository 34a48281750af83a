//! Opening a file takes little more memory than the packed weights. Once it has seen a batch of some size, a session
//! allocates nothing.

#[allow(dead_code, reason = "each test uses a part of it")]
mod common;

use common::{in_bf16, network, values};
use mobilenet_runtime::{Model, Session, Tensor};

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

#[test]
fn a_file_is_opened_in_little_more_than_its_packed_weights() {
    let mut network = network(8, 8);
    const WIDE: usize = 40_000;
    for (name, shape) in
        [("last.weight", vec![WIDE, 12, 1, 1]), ("last.bias", vec![WIDE]), ("classifier.weight", vec![7, WIDE])]
    {
        let numbers = values(shape.iter().product(), 3);
        network.tensors.insert(name.to_owned(), Tensor::f32(shape, numbers));
    }
    let folder = tempfile::tempdir().unwrap();
    // In bf16 too: what is made float32 is a panel at a time.
    let most = [network.clone(), in_bf16(network)].map(|network| {
        let path = folder.path().join("wide.safetensors");
        network.save(&path).unwrap();
        let mut weights = 0;
        let counted = allocation_counter::measure(|| weights = Model::open(&path).unwrap().weight_bytes() as u64);
        assert!(weights > 3_000_000 && counted.bytes_max < weights * 3 / 2, "{counted:?} for {weights} bytes");
        counted.bytes_max
    });
    assert!(most[1] <= most[0], "float32 and bf16: {most:?}");
}
