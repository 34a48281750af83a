//! Colors and type. Colors are CSS variables, so that one picture serves light and dark.

use std::fmt::Write as _;

/// Type, lines and grounds; before the hues.
const STYLE: &str = "\
.plot{font:12px system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif}
.plot text{fill:var(--muted)}
.plot .strong{fill:var(--fg);font-weight:600}
.plot .name{fill:var(--fg)}
.plot .title{fill:var(--fg);font-size:13.5px;font-weight:600}
.plot .small{font-size:10.5px}
.plot .grid{stroke:var(--grid);stroke-width:1}
.plot .axis{stroke:var(--axis);stroke-width:1}
.plot .back{fill:var(--card)}
.plot .empty{fill:var(--grid)}
.plot .roof{fill:none;stroke:var(--fg);stroke-width:1.75;stroke-linejoin:round}
.plot .clear{fill-opacity:.6}
.plot .line{fill:none;stroke-width:2.25;stroke-linejoin:round;stroke-linecap:round}
.plot .faint{stroke-dasharray:5 4;stroke-width:1.75}
.plot .on{fill:var(--card);font-weight:600;stroke:var(--c);stroke-width:2px;paint-order:stroke}
";

/// The tones of a hue, and what is drawn in a series's color; after the hues.
const TONES: &str = "\
@supports (color:color-mix(in srgb,red,blue)){
.w1{--c:color-mix(in srgb,var(--b) 48%,var(--card))}.w2{--c:color-mix(in srgb,var(--b) 64%,var(--card))}
.w3{--c:color-mix(in srgb,var(--b) 82%,var(--card))}.w5{--c:color-mix(in srgb,var(--b) 62%,var(--fg))}}
.plot .stroke{stroke:var(--c)}
.plot .fill{fill:var(--c)}
.plot text.fill{fill:var(--b);font-weight:600}
.plot .dim{opacity:.4}
.plot .front{stroke:var(--fg);stroke-width:1.25;stroke-opacity:.55;stroke-dasharray:2 4}
";

/// The variables but for the hues, light and dark.
const LIGHT: &str = "--bg:#f6f7f9;--card:#ffffff;--fg:#1b2330;--muted:#5b6675;--grid:#e4e8ee;--axis:#aeb7c4;\
--line:#dfe4ea;--good:#147a4b;--bad:#b3352c;--open:#6a7280;--warn:#8a5a00;--warn-bg:#fff4d6";
const DARK: &str = "--bg:#0f141b;--card:#171e28;--fg:#e7ebf1;--muted:#a0abba;--grid:#2a3442;--axis:#566274;\
--line:#2b3543;--good:#56c98d;--bad:#f18379;--open:#9aa5b4;--warn:#f2c866;--warn-bg:#33290f";

/// A hue by the name of its class, and its color on a light and on a dark ground.
#[derive(Copy, Clone, Debug)]
pub struct Hue {
    /// The class, and the name of its variable
    pub name: &'static str,
    /// On a light ground
    pub light: &'static str,
    /// On a dark one
    pub dark: &'static str,
}

/// Colors and type of everything that is drawn: a class for each hue (`--b`), and classes `w1` to `w5` for tones of it
/// (`--c`), from lighter to darker. It stands once in a page; a picture of its own carries it inside, with a
/// background, so that it can be read on any page.
pub fn style(hues: &[Hue]) -> String {
    let mut style = STYLE.to_owned();
    for Hue { name, .. } in hues {
        let _ = writeln!(style, ".{name}{{--b:var(--{name});--c:var(--b)}}");
    }
    style + TONES
}

/// The variables of [`style`], light then dark.
pub fn colors(hues: &[Hue]) -> String {
    let variables = |of: fn(&Hue) -> &'static str| -> String {
        hues.iter().map(|hue| format!("--{}:{};", hue.name, of(hue))).collect()
    };
    format!(
        ":root{{{}{LIGHT}}}\n@media (prefers-color-scheme:dark){{:root{{{}{DARK}}}}}\n",
        variables(|hue| hue.light),
        variables(|hue| hue.dark)
    )
}
