//! The arguments of the processes: `mobilenet bench` and the worker.

use mobilenet_arch::Arch;

use super::cell::Cell;
use super::settings::PeersPlan;
use super::task::Program;

/// Arguments of `mobilenet`.
pub fn ours(cell: &Cell, settings: &PeersPlan) -> Vec<String> {
    let words = ["bench", "--model", cell.arch.name(), "--preset", settings.preset.name()];
    let mut args = words.map(str::to_owned).to_vec();
    if cell.task.trains() {
        args.push("--train".to_owned());
    }
    if cell.program == Program::OursBf16 {
        args.extend(["--precision", "bf16"].map(str::to_owned));
    }
    args.extend(shared(cell, settings));
    args.push("--json".to_owned());
    args
}

/// Arguments of the worker.
pub fn theirs(cell: &Cell, settings: &PeersPlan) -> Vec<String> {
    let own = [cell.task.key(), "--program", cell.program.key()].map(str::to_owned);
    own.into_iter().chain(peer(cell.arch)).chain(size(settings)).chain(shared(cell, settings)).collect()
}

/// Height and width of the images.
pub fn size(settings: &PeersPlan) -> [String; 2] {
    ["--size".to_owned(), settings.preset.image_size().to_string()]
}

/// The network, as the worker is told of it.
pub fn peer(arch: Arch) -> Vec<String> {
    let options = arch.description().peer.map(|peer| ["--library", peer.library, "--model", peer.model]);
    options.into_iter().flatten().map(str::to_owned).collect()
}

fn shared(cell: &Cell, settings: &PeersPlan) -> Vec<String> {
    let (warmup, iterations) = cell.task.passes(settings);
    [
        ("--batch", cell.task.batch(settings)),
        ("--threads", cell.task.threads(settings)),
        ("--warmup", warmup),
        ("--iterations", iterations),
    ]
    .into_iter()
    .flat_map(|(name, value)| [name.to_owned(), value.to_string()])
    .collect()
}

#[cfg(test)]
mod tests {
    use super::super::cell::tests::cell;
    use super::super::settings::tests::settings;
    use super::super::task::Task;
    use super::*;

    #[test]
    fn both_sides_are_asked_for_the_same() {
        for task in Task::ALL {
            let cell = cell(task, Program::TorchNchw, &[]);
            let tail = shared(&cell, &settings());
            let (ours, theirs) = (ours(&cell, &settings()).join(" "), theirs(&cell, &settings()).join(" "));
            assert!(ours.contains(&tail.join(" ")) && theirs.ends_with(&tail.join(" ")), "{ours}; {theirs}");
            assert_eq!(ours.contains("--train"), task.trains());
        }
    }
}
