/// The result of making a network one that can be trained, or the way back.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a network cannot be trained like this.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A network that nothing can be trained of.
    #[error("cannot train this network: {0}")]
    Network(String),
    /// A network whose parts do not fit each other.
    #[error(transparent)]
    Runtime(#[from] mobilenet_runtime::Error),
    /// Candle cannot do it.
    #[error(transparent)]
    Candle(#[from] candle_core::Error),
}
