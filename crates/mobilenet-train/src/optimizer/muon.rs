//! Muon's update of a matrix `w` by its gradient `g`:
//!
//! ```text
//! m = momentum * m + (1 - momentum) * g        d = nesterov ? momentum * m + (1 - momentum) * g : m
//! w = w * (1 - lr * decay) - lr * 0.2 * sqrt(max(rows, columns)) * orthogonalized(d)
//! ```

use candle_core::{DType, Result as CandleResult, Tensor, Var};

/// Newton-Schulz iterations, and the coefficients of each: `x -> a x + b (x xᵀ) x + c (x xᵀ)² x` (Jordan et al. 2024). They
/// bring every singular value that is not tiny into 0.7 to 1.2 rather than to 1, in the fewest iterations.
const ITERATIONS: usize = 5;
const A: f64 = 3.4445;
const B: f64 = -4.7750;
const C: f64 = 2.0315;
/// The least norm that a direction is divided by.
const LEAST_NORM: f64 = 1e-7;

/// A step's scalars for one matrix.
#[derive(Copy, Clone)]
pub(super) struct Muon {
    pub lr: f64,
    pub decay: f64,
    pub momentum: f64,
    pub nesterov: bool,
}

/// Whether these are the weights of a 1×1 convolution, as a matrix of output by input channels.
pub(super) fn is_matrix(var: &Var) -> bool {
    matches!(var.dims(), [rows, columns, 1, 1] if *rows > 1 && *columns > 1)
}

impl Muon {
    /// The new weights and momentum; all of `w`'s shape, `(rows, columns, ...)`.
    pub fn next(self, w: &Var, g: &Tensor, momentum: Tensor) -> CandleResult<(Tensor, Tensor)> {
        let (w, g) = (w.as_detached_tensor(), g.detach());
        let fresh = (&g * (1.0 - self.momentum))?;
        let momentum = ((momentum * self.momentum)? + &fresh)?;
        let direction = if self.nesterov { ((&momentum * self.momentum)? + fresh)? } else { momentum.clone() };
        let direction = orthogonalized(&direction.flatten_from(1)?)?;
        let (rows, columns) = direction.dims2()?;
        let step = self.lr * 0.2 * (rows.max(columns) as f64).sqrt();
        let next = ((&w * (1.0 - self.lr * self.decay))? - (direction * step)?.reshape(w.shape())?)?;
        Ok((next, momentum))
    }
}

/// `x` of shape `(rows, columns)` with all singular values brought to about 1.
///
/// Every iteration multiplies by a polynomial of the Gram matrix `x xᵀ`, and polynomials of one matrix commute: so the
/// iterations are done on the Gram matrix, of the smaller side, and their product is applied to `x` once.
fn orthogonalized(x: &Tensor) -> CandleResult<Tensor> {
    let (rows, columns) = x.dims2()?;
    if rows > columns {
        return orthogonalized(&x.t()?)?.t();
    }
    let norm = x.sqr()?.sum_all()?.sqrt()?.maximum(LEAST_NORM)?;
    let x = x.broadcast_div(&norm)?;
    let mut gram = x.matmul(&x.t()?)?;
    let identity = Tensor::eye(rows, DType::F32, x.device())?;
    let mut product = identity.clone();
    for iteration in 1..=ITERATIONS {
        let factor = ((&identity * A)? + (&gram * B)? + (gram.matmul(&gram)? * C)?)?;
        product = factor.matmul(&product)?;
        if iteration < ITERATIONS {
            gram = factor.matmul(&gram)?.matmul(&factor)?;
        }
    }
    product.matmul(&x)
}
