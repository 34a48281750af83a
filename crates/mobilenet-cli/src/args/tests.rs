//! What is said of a wrong command line.

use super::*;

#[test]
fn the_definitions_are_sound() {
    use clap::CommandFactory;
    Cli::command().debug_assert();
}

#[test]
fn bad_values_are_named() {
    for (line, expected) in [
        ("summary --model v4", "v2, v2-hs, v2-hs-se, v2-hs-se-k5, v3-large, v3-small"),
        ("summary --model v2 --width -1", "a number above 0"),
        ("summary --model v2 --width nan", "a number above 0"),
        ("train --model v2 --out r --epochs 0", "at least 1"),
        ("train --model v2 --out r --batch-size 0", "at least 1"),
        ("train --model v2 --out r --lr -1", "a number above 0"),
        ("train --model v2 --out r --label-smoothing 1", "0 to below 1"),
        ("train --model v2 --out r --optimizer lion", "adamw, sgd or muon"),
        ("train --model v2 --out r --schedule step", "one-cycle"),
        ("train --model v2 --out r --final-lr 2", "0 to 1"),
        ("train --model v2 --out r --data mnist", "cifar10"),
        ("train --model v2 --out r --recipe slow", "article, fast or finetune"),
        ("train --model v2 --out r --balance all", "none, sampler or weights"),
        ("train --model v2 --out r --picture-cache -1", "such as 500M"),
        ("train --model v2 --out r --ema 1", "0 to below 1"),
        ("train --model v2 --out r --random-erasing 1.5", "0 to 1"),
        ("train --model v2 --out r --mixup 0", "a number above 0"),
        ("train --model v2 --out r --mixup 1 --cutmix 1", "cannot be used with"),
        ("train --model v2 --out r --low-resolution 24", "--low-resolution-share"),
        ("train --model v2 --out r --freeze stem", "features"),
        ("train --out r", "--model"),
        ("bench --model v2 --device gpu", "cuda:N"),
        ("bench --model v2 --threads 0", "at least 1"),
        ("bench --model v2 --batch 18446744073709551615", "at least 1 and at most 4,096"),
        ("bench --model v2 --batch 4097", "at least 1 and at most 4,096"),
        ("bench --model v2 --iterations 1000001", "at least 1 and at most 1,000,000"),
        ("bench --model v2 --warmup 1000000000000", "at least 0 and at most 1,000,000"),
        ("bench --model v2 --num-classes 1000000", "at least 1 and at most 100,000"),
        ("bench --model v2 --blocks --train", "--train"),
        ("roofline --threads 0", "at least 1"),
        ("data --images 1,2", "--json"),
        ("data --image-size -1", "'--image-size <PIXELS>': expected a whole number, at least 1 and at most 16,384"),
        ("data --image-size 20000", "'--image-size <PIXELS>'"),
        ("data --split-seed -1", "'--split-seed <SEED>'"),
        ("data --test-share 1", "'--test-share <SHARE>': expected a number above 0 and below 1"),
        ("data --crop-share -0.5", "'--crop-share <SHARE>'"),
        ("train --model v2 --out r --limit-train -1", "'--limit-train <N>': expected a whole number, at least 1"),
        ("train --model v2 --out r --low-resolution 20000 --low-resolution-share 0.5", "'--low-resolution <PIXELS>'"),
        ("train --model v2 --out r --resized-crop -1,1", "'--resized-crop <MIN,MAX>': expected two shares"),
        ("train --model v2 --out r --policy auto", "trivial-augment-wide, rand-augment or rand-augment:N,M"),
        ("train --model v2 --out r --color-jitter 1,2,3", "expected four numbers"),
        ("train --model v2 --out r --no-augment --policy rand-augment", "cannot be used with"),
        ("choose --max-params 3X", "3M, 2.5M, 500k or 120000"),
        ("choose --max-params 0", "3M, 2.5M, 500k or 120000"),
        ("choose --max-macs -1M", "3M, 2.5M, 500k or 120000"),
        ("choose --max-macs M", "3M, 2.5M, 500k or 120000"),
        ("choose --max-latency-ms 0", "a number above 0"),
        ("choose --min-accuracy 90", "0 to below 1"),
    ] {
        let words = std::iter::once("mobilenet").chain(line.split(' '));
        let Err(error) = Cli::read(words) else { panic!("{line}: no error") };
        assert!(error.to_string().contains(expected), "{line}: {error}");
    }
}

#[test]
fn negative_values_name_their_flag() {
    for value in ["-1", "-inf", "-x"] {
        for (line, flag) in [
            ("train --model v2 --out r --epochs", "--epochs"),
            ("train --model v2 --out r --seed", "--seed"),
            ("train --model v2 --out r --lr", "--lr"),
            ("train --model v2 --out r --strides", "--strides"),
            ("train --out r --model", "--model"),
            ("bench --model v2 --threads", "--threads"),
            ("bench --model v2 --batch", "--batch"),
            ("summary --model v2 --image-size", "--image-size"),
            ("choose --max-latency-ms", "--max-latency-ms"),
        ] {
            let words = std::iter::once("mobilenet").chain(line.split(' ')).chain([value]);
            let Err(error) = Cli::read(words) else { panic!("{line} {value}: no error") };
            let text = error.to_string();
            let first = text.lines().next().unwrap();
            assert!(first.contains("invalid value") && first.contains(flag), "{line} {value}: {text}");
        }
    }
    let Err(error) = Cli::read(["mobilenet", "train", "--out", "--resume"]) else { panic!("no error") };
    assert!(error.to_string().contains("--out"), "{error}");
}
