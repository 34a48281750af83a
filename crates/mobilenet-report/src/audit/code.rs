//! What reading the article's code settles.

use mobilenet_schema::Verdict;

use super::claim::{Claim, claim};

/// The claims about its code.
pub fn claims() -> Vec<Claim> {
    use Verdict::NotReproduced;
    vec![
        claim(
            "The code as printed builds and runs MobileNetV3-Large.",
            NotReproduced,
            "From the second block on it reads `self.blocks[-1].conv[-1].out_channels`, but the last layer of `conv` \
             is a `BatchNorm2d`, which has no such attribute: constructing the model raises `AttributeError`.",
        ),
        claim(
            "Its V3 block implements the configuration table (`k, exp, c, se, nl, s`).",
            NotReproduced,
            "`k` is read and never used: all windows are 3×3, although six of the fifteen rows ask for 5×5. `exp/16` \
             is passed as the expansion ratio, which is right only for the first two rows, whose input has 16 \
             channels; the third (24 in, 72 inside) would become 108 wide. `RE` is made a ReLU6, where V3 has a ReLU.",
        ),
        claim(
            "`reduced_tail` is an option of the model.",
            NotReproduced,
            "It is accepted and ignored. It should halve the last stage and the last channels; `mobilenet train \
             --reduced-tail` does.",
        ),
        claim(
            "Its squeeze-and-excite module is V3's.",
            NotReproduced,
            "It has no biases, and its hidden width is exp/4 where V3 rounds to multiples of eight (72 channels: 24, \
             not 18).",
        ),
        claim(
            "`width_mult` scales the V2 code.",
            NotReproduced,
            "At width 1 the printed V2 is right. At others it truncates (`int(c * width_mult)`) where MobileNetV2 \
             rounds to multiples of eight, so published weights would not fit; at 0.75 the 24-channel stage gets 18 \
             channels, not 24.",
        ),
    ]
}
