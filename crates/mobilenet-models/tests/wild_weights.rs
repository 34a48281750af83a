//! Weights as people have them: wrapped, nested, saved whole, in pieces. `fixtures/torch_wild.py` made the files.

mod hashed;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Var};
use candle_nn::VarMap;
use hashed::weight;
use mobilenet_models::weights::{self, LoadReport};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/wild").join(name)
}

/// The variables of the network in `fixtures/torch_wild.py`.
fn small() -> VarMap {
    let shapes: [(&str, &[usize]); 7] = [
        ("features.0.0.weight", &[4, 3, 3, 3]),
        ("features.0.1.weight", &[4]),
        ("features.0.1.bias", &[4]),
        ("features.0.1.running_mean", &[4]),
        ("features.0.1.running_var", &[4]),
        ("classifier.1.weight", &[5, 4]),
        ("classifier.1.bias", &[5]),
    ];
    let vars = VarMap::new();
    for (name, shape) in shapes {
        let var = Var::zeros(shape, DType::F32, &Device::Cpu).unwrap();
        vars.data().lock().unwrap().insert(name.to_string(), var);
    }
    vars
}

/// Loads a file and checks every number of the tensors that were not left as they are.
fn loaded(path: &Path, tolerance: f32) -> LoadReport {
    let vars = small();
    let report = weights::load(&vars, path).unwrap_or_else(|error| panic!("{error}"));
    let fresh = report.fresh_classifier.as_ref().map(|fresh| fresh.name.clone());
    let mut count = 0;
    for (name, var) in vars.data().lock().unwrap().iter() {
        if fresh.as_ref().is_some_and(|fresh| name.starts_with(fresh)) {
            continue;
        }
        count += 1;
        let found: Vec<f32> = var.flatten_all().unwrap().to_vec1().unwrap();
        for (found, expected) in found.iter().zip(weight(name, var.dims(), false)) {
            assert!((found - expected).abs() <= tolerance, "{}: {name}: {found}, expected {expected}", path.display());
        }
    }
    assert_eq!(report.loaded, count, "{}", path.display());
    report
}

#[test]
fn every_wrapping_is_taken_off_and_said() {
    for (name, said) in [
        ("data_parallel.pth", "7 tensors loaded from module"),
        ("compiled.pth", "7 tensors loaded from _orig_mod"),
        ("compiled_parallel.pth", "7 tensors loaded from module._orig_mod"),
        ("any_prefix.bin", "7 tensors loaded from backbone.net"),
        ("averaged.pth", "7 tensors loaded from module; 1 other tensor left aside"),
        ("inner_parallel.pth", "7 tensors loaded"),
        ("lightning.ckpt", "7 tensors loaded from state_dict.model; 2 other tensors left aside"),
        ("averages_first.pth", "7 tensors loaded from model_ema.module (not from model)"),
        ("ema_state_dict.pth", "7 tensors loaded from ema_state_dict (not from model_state_dict)"),
        ("nested.pth", "7 tensors loaded from checkpoint.net.state_dict.module"),
        ("whole.pth", "7 tensors loaded"),
        ("whole_in_dict.pt", "7 tensors loaded from model"),
        ("whole_parallel.pt", "7 tensors loaded from module"),
        ("protocol4.pth", "7 tensors loaded"),
        ("protocol5_whole.pth", "7 tensors loaded"),
        ("legacy_protocol4.pth", "7 tensors loaded"),
        ("a_name_of_21_letters_.pth", "7 tensors loaded"),
        ("script.pt", "7 tensors loaded"),
        ("trace.pt", "7 tensors loaded"),
        ("model.safetensors.index.json", "7 tensors loaded"),
    ] {
        assert_eq!(loaded(&fixture(name), 0.0).to_string(), said, "{name}");
    }
    loaded(&fixture("bfloat16.pth"), 1e-2);
    let headless = loaded(&fixture("headless.pth"), 0.0).to_string();
    assert_eq!(headless, "5 tensors loaded; classifier.1 is fresh: the file has none");
}

/// The archive's folder has 21 letters in each of torchvision's files of MobileNetV2, too.
#[test]
fn the_folder_has_the_length_that_matters() {
    let bytes = fs::read(fixture("a_name_of_21_letters_.pth")).unwrap();
    let folder = b"a_name_of_21_letters_/data.pkl";
    assert_eq!(&bytes[30..30 + folder.len()], folder);
    assert_eq!(folder.iter().position(|&byte| byte == b'/'), Some(21));
}

/// An index in a folder with these files.
fn index(folder: &Path, text: &str) -> String {
    for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
        fs::copy(fixture(name), folder.join(name)).unwrap();
    }
    let path = folder.join("model.safetensors.index.json");
    fs::write(&path, text).unwrap();
    weights::load(&small(), &path).expect_err("an error").to_string()
}

#[test]
fn an_index_names_files_beside_it_that_hold_what_it_says() {
    let folder = tempfile::tempdir().unwrap();
    let good = fs::read_to_string(fixture("model.safetensors.index.json")).unwrap();
    for (text, expected) in [
        ("{}".to_owned(), "found JSON without the weight_map of a model in several files"),
        ("{\"weight_map\": 3}".to_owned(), "found JSON without the weight_map"),
        ("{\"weight_map\": {}}".to_owned(), "found a JSON file without tensors"),
        (good.replace("model-00002-of", "../model-00002-of"), "expected the name of a file beside it"),
        (good.replace("model-00002-of", "/model-00002-of"), "expected the name of a file beside it"),
        (good.replace("model-00002-of", "model-00003-of"), "model-00003-of-00002.safetensors: cannot read: "),
        (
            good.replace("classifier.1.bias", "classifier.2.bias"),
            "a tensor \"classifier.2.bias\" that its files do not",
        ),
        (good.replace("model-00001-of-00002.safetensors", "model.safetensors.index.json"), "an index in place of"),
    ] {
        let error = index(folder.path(), &text);
        assert!(error.contains(expected), "{error}");
    }
}

/// Each file cut at many lengths, and with a byte changed here and there: an error or the right numbers of names, and
/// never a panic.
#[test]
fn damaged_files_do_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("damaged");
    for name in ["whole.pth", "script.pt", "lightning.ckpt", "protocol5_whole.pth", "legacy_protocol4.pth"] {
        let good = fs::read(fixture(name)).unwrap();
        for length in (0..good.len()).step_by(97) {
            fs::write(&path, &good[..length]).unwrap();
            weights::load(&small(), &path).expect_err("a file that is cut short");
        }
        for (i, flip) in (0..good.len()).step_by(31).zip([0xff, 0x01, 0x80, 0x55].into_iter().cycle()) {
            let mut damaged = good.clone();
            damaged[i] ^= flip;
            fs::write(&path, &damaged).unwrap();
            let _ = weights::load(&small(), &path);
            let _ = weights::inspect(&path);
        }
    }
}

/// A pickle with `instructions` in an archive such as torch.save makes, stored and with right checksums.
fn archive(pickle: &[u8]) -> Vec<u8> {
    let crc = |bytes: &[u8]| {
        !bytes.iter().fold(!0u32, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & (crc & 1).wrapping_neg()))
        })
    };
    let (mut out, mut central) = (Vec::new(), Vec::new());
    for (name, bytes) in [("a/data.pkl", pickle), ("a/data/0", &[0; 16])] {
        let offset = out.len() as u32;
        let size = bytes.len() as u32;
        let mut fields = vec![10, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        for number in [crc(bytes), size, size] {
            fields.extend(number.to_le_bytes());
        }
        fields.extend((name.len() as u16).to_le_bytes());
        fields.extend([0, 0]);
        out.extend(b"PK\x03\x04".iter().chain(&fields).chain(name.as_bytes()).chain(bytes));
        central.extend(b"PK\x01\x02\x0a\x00".iter().chain(&fields).chain(&[0; 10]));
        central.extend(offset.to_le_bytes().iter().chain(name.as_bytes()));
    }
    let (start, size) = (out.len() as u32, central.len() as u32);
    out.extend(&central);
    out.extend(b"PK\x05\x06\0\0\0\0\x02\0\x02\0");
    out.extend(size.to_le_bytes().iter().chain(&start.to_le_bytes()).chain(&[0, 0]));
    out
}

/// A tensor's pickle below `name`, whose shape and strides are what `sizes` puts on the stack.
fn tensor(name: &str, sizes: &[u8]) -> Vec<u8> {
    let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    let storage =
        [&b"("[..], &text("storage"), b"ctorch\nFloatStorage\n", &text("0"), &text("cpu"), b"K\x04tQ"].concat();
    [&text(name), &b"ctorch._utils\n_rebuild_tensor_v2\n("[..], &storage, b"K\x00", sizes, b"\x89NtR"].concat()
}

fn refused(pickle: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("crafted.pth");
    fs::write(&path, archive(pickle)).unwrap();
    let error = weights::load(&small(), &path).expect_err("an error").to_string();
    assert!(error.len() < 1000 && !error.contains('\n'), "{error}");
    error.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
}

/// A shape that is kept once and used by every tensor is not copied for each; a long one is an error at once.
#[test]
fn what_a_pickle_repeats_takes_no_more_room() {
    let good = [&b"\x80\x02}("[..], &tensor("a", b"K\x02K\x02\x86K\x02K\x01\x86"), b"u."].concat();
    assert!(refused(&good).starts_with("the weights do not fit the model: "), "the archive itself is fine");

    // ((0, 0, … 40,000 times), kept as 0), then a thousand tensors of that shape.
    let mut pickle = [&b"\x80\x02("[..], &b"K\x00".repeat(40_000), b"tq\x000}("].concat();
    for i in 0..1000 {
        pickle.extend(tensor(&i.to_string(), b"h\x00h\x00"));
    }
    pickle.extend(b"u.");
    assert!(refused(&pickle).ends_with("0: expected a shape of at most 8 sizes"));

    // A dict of two dicts, each of two, and so on: 2^40 ways to the tensor.
    let mut pickle = [&b"\x80\x02}("[..], &tensor("a", b"K\x02K\x02\x86K\x02K\x01\x86"), b"uq\x00"].concat();
    for _ in 0..40 {
        pickle.extend(b"0}(X\x01\x00\x00\x00ah\x00X\x01\x00\x00\x00bh\x00uq\x00");
    }
    pickle.push(b'.');
    let error = refused(&pickle);
    assert!(error.contains("than a checkpoint has"), "{error}");

    // A dict in itself.
    assert!(refused(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.").ends_with("found a PyTorch file without tensors"));
}

/// What would run a program in Python is a name here.
#[test]
fn nothing_is_executed() {
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let command = format!("touch {}", trace.display());
    let text = [&b"X"[..], &(command.len() as u32).to_le_bytes(), command.as_bytes()].concat();
    for call in [&b"cposix\nsystem\n"[..], b"cos\nsystem\n", b"c__builtin__\neval\n"] {
        let run = [&b"\x80\x02"[..], call, &text, b"\x85R."].concat();
        assert!(refused(&run).ends_with("found a PyTorch file without tensors"));
    }
    assert!(!trace.exists());
}

#[test]
fn numbers_that_no_network_works_with_are_refused() {
    for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        let good = small();
        let broken = Var::new(&[0.0, value, 0.0, 0.0, 0.0], &Device::Cpu).unwrap();
        good.data().lock().unwrap().insert("classifier.1.bias".into(), broken);
        weights::save(&good, &path).unwrap();
        let error = weights::load(&small(), &path).unwrap_err().to_string();
        assert_eq!(error, format!("{}: classifier.1.bias holds NaN or infinite numbers", path.display()));
    }
}

/// A file may seem large and take no room; only what is read of it counts.
#[test]
fn a_giant_of_zeros_is_refused_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("sparse.pth");
    fs::File::create(&path).unwrap().set_len(3 << 30).unwrap();
    let error = weights::load(&small(), &path).unwrap_err().to_string();
    assert!(error.ends_with("found a file that begins with zeros"), "{error}");
    let header = format!(
        r#"{{"a":{{"dtype":"F32","shape":[{n}],"data_offsets":[0,{bytes}]}}}}"#,
        n = 3 << 28,
        bytes = 3u64 << 30
    );
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    fs::write(&path, &bytes).unwrap();
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(bytes.len() as u64 + (3 << 30)).unwrap();
    let error = weights::load(&small(), &path).unwrap_err().to_string();
    assert!(error.contains("6 tensors: missing features.0.0.weight"), "{error}");
    fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(9 << 30).unwrap();
    let error = weights::load(&small(), &path).unwrap_err().to_string();
    assert!(error.contains("expected at most"), "{error}");
}

#[test]
fn long_lists_are_cut_short() {
    let many = VarMap::new();
    for i in 0..300 {
        let var = Var::zeros(1, DType::F32, &Device::Cpu).unwrap();
        many.data().lock().unwrap().insert(format!("another.layer.{i:03}.weight"), var);
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    weights::save(&many, &path).unwrap();
    let error = weights::load(&small(), &path).unwrap_err().to_string();
    assert!(error.contains("305 tensors: missing features.0.0.weight (expected [4, 3, 3, 3]); "), "{error}");
    assert!(error.ends_with("; and 299 more"), "{error}");
    assert!(error.len() < 600, "{error}");
}

#[test]
fn inspection_names_every_tensor_of_a_file() {
    let found = weights::inspect(fixture("lightning.ckpt")).unwrap();
    assert_eq!((found.format, found.prefix.as_str()), ("PyTorch", "state_dict.model."));
    let by_name: BTreeMap<&str, _> = found.tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
    let conv = by_name["state_dict.model.features.0.0.weight"];
    assert_eq!((&conv.shape[..], conv.dtype.as_str()), (&[4, 3, 3, 3][..], "float32"));
    assert_eq!(conv.torchvision.as_deref(), Some("features.0.0.weight"));
    assert_eq!(by_name["state_dict.metric.count"].torchvision, None);
    assert_eq!(by_name["state_dict.metric.count"].dtype, "int64");
}
