//! `mobilenet summary`

use anyhow::Result;
use mobilenet_models::summary;

use crate::args::SummaryArgs;
use crate::output::{print, print_json};

pub fn run(args: &SummaryArgs) -> Result<()> {
    let config = args.model.config();
    let size = args.image_size.unwrap_or(config.preset.image_size());
    let summary = summary(&config, (size, size))?;
    if args.json {
        return print_json(&summary);
    }
    print(&summary.to_string())
}
