//! Muon's update of a matrix `w` by its gradient `g`:
//!
//! ```text
//! m = momentum * m + (1 - momentum) * g        d = nesterov ? momentum * m + (1 - momentum) * g : m
//! w = w * (1 - lr * decay) - lr * 0.2 * sqrt(max(rows, columns)) * orthogonalized(d)
//! ```

use candle_core::{DType, Result as CandleResult, Tensor, Var};
use mobilenet_kernels::matmul::{Sizes, ab, abt, atb};

/// Newton-Schulz iterations, and the coefficients of each: `x -> a x + b (x xᵀ) x + c (x xᵀ)² x` (Jordan et al. 2024).
/// They bring every singular value that is not tiny into 0.7 to 1.2 rather than to 1, in the fewest iterations.
///
/// Every iteration multiplies by a polynomial of the Gram matrix `x xᵀ`, and polynomials of one matrix commute: so the
/// iterations are done on the Gram matrix, of the smaller side, and their product is applied to `x` once.
const ITERATIONS: usize = 5;
const A: f32 = 3.4445;
const B: f32 = -4.7750;
const C: f32 = 2.0315;
/// The least norm that a direction is divided by.
const LEAST_NORM: f64 = 1e-7;

/// A step's scalars for one matrix.
#[derive(Copy, Clone)]
pub(super) struct Muon {
    shrink: f32,
    step: f32,
    momentum: f32,
    nesterov: bool,
    /// Rows and columns of the matrix.
    shape: (usize, usize),
}

/// Whether these are the weights of a 1×1 convolution: a matrix of output by input channels.
pub(super) fn is_matrix(var: &Var) -> bool {
    matches!(*var.dims(), [rows, columns, 1, 1] if rows > 1 && columns > 1)
}

impl Muon {
    /// For a variable of these dimensions, as a matrix of the first by all others.
    pub fn new(lr: f64, decay: f64, momentum: f64, nesterov: bool, dims: &[usize]) -> Self {
        let rows = dims.first().copied().unwrap_or(1);
        let shape = (rows, dims.iter().skip(1).product());
        let step = lr * 0.2 * (shape.0.max(shape.1) as f64).sqrt();
        let (shrink, momentum) = (1.0 - lr * decay, momentum as f32);
        Self { shrink: shrink as f32, step: step as f32, momentum, nesterov, shape }
    }

    /// Updates weights and momentum, on the CPU.
    pub fn update(self, w: &mut [f32], g: &[f32], m: &mut [f32]) {
        let advance = |(m, &g): (&mut f32, &f32)| {
            let fresh = (1.0 - self.momentum) * g;
            *m = self.momentum * *m + fresh;
            if self.nesterov { self.momentum * *m + fresh } else { *m }
        };
        let direction = m.iter_mut().zip(g).map(advance).collect();
        for (w, d) in w.iter_mut().zip(orthogonalized(direction, self.shape)) {
            *w = self.shrink * *w - self.step * d;
        }
    }

    /// The new weights and momentum in Candle's operations.
    pub fn composition(self, w: &Tensor, g: &Tensor, m: &Tensor) -> CandleResult<(Tensor, Tensor)> {
        let times = |x: &Tensor, factor: f32| x.affine(f64::from(factor), 0.0);
        let fresh = times(g, 1.0 - self.momentum)?;
        let m = (times(m, self.momentum)? + &fresh)?;
        let direction = if self.nesterov { (times(&m, self.momentum)? + fresh)? } else { m.clone() };
        let direction = orthogonalized_composition(&direction.reshape(self.shape)?)?.reshape(w.shape())?;
        Ok(((times(w, self.shrink)? - times(&direction, self.step)?)?, m))
    }
}

/// The row-major matrix `x` with all singular values brought to about 1.
fn orthogonalized(mut x: Vec<f32>, (rows, columns): (usize, usize)) -> Vec<f32> {
    let norm = x.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>().sqrt().max(LEAST_NORM);
    x.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);

    let (n, tall) = (rows.min(columns), rows > columns);
    let mut gram = vec![0.0; n * n];
    let sizes = Sizes { rows: n, inner: rows.max(columns), columns: n };
    if tall {
        atb(&x, &x, sizes, &mut gram);
    } else {
        abt(&x, &x, sizes, &mut gram);
    }
    let mut total: Option<Vec<f32>> = None;
    for iteration in 1..=ITERATIONS {
        let mut factor = product(&gram, &gram, n, n);
        for (i, (factor, gram)) in factor.iter_mut().zip(&gram).enumerate() {
            *factor = C * *factor + B * gram + if i % (n + 1) == 0 { A } else { 0.0 };
        }
        if iteration < ITERATIONS {
            gram = product(&product(&factor, &gram, n, n), &factor, n, n);
        }
        total = Some(match total {
            None => factor,
            Some(total) => product(&factor, &total, n, n),
        });
    }
    match total {
        Some(total) if tall => product(&x, &total, n, n),
        Some(total) => product(&total, &x, n, columns),
        None => x,
    }
}

/// `a · b`, where `a` has `inner` columns and `b` has `columns`.
fn product(a: &[f32], b: &[f32], inner: usize, columns: usize) -> Vec<f32> {
    let rows = a.len() / inner;
    let mut out = vec![0.0; rows * columns];
    ab(a, b, Sizes { rows, inner, columns }, &mut out);
    out
}

/// [`orthogonalized`] in Candle's operations; `x` of shape `(rows, columns)`.
fn orthogonalized_composition(x: &Tensor) -> CandleResult<Tensor> {
    let (rows, columns) = x.dims2()?;
    if rows > columns {
        return orthogonalized_composition(&x.t()?.contiguous()?)?.t()?.contiguous();
    }
    let x = x.broadcast_div(&x.sqr()?.sum_all()?.sqrt()?.maximum(LEAST_NORM)?)?;
    let mut gram = x.matmul(&x.t()?)?;
    let identity = Tensor::eye(rows, DType::F32, x.device())?;
    let mut total = identity.clone();
    for iteration in 1..=ITERATIONS {
        let square = gram.matmul(&gram)?;
        let factor = ((&identity * f64::from(A))? + (&gram * f64::from(B))? + (square * f64::from(C))?)?;
        total = factor.matmul(&total)?;
        if iteration < ITERATIONS {
            gram = factor.matmul(&gram)?.matmul(&factor)?;
        }
    }
    total.matmul(&x)
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// On the diagonal a singular value is what the polynomial makes of it, five times.
    #[test]
    fn a_diagonal_matrix_keeps_its_directions() {
        let found = orthogonalized(vec![0.6, 0.0, 0.0, 0.0, 0.8, 0.0], (2, 3));
        let expected = |mut x: f64| {
            for _ in 0..ITERATIONS {
                x = f64::from(A) * x + f64::from(B) * x.powi(3) + f64::from(C) * x.powi(5);
            }
            x
        };
        let expected = [expected(0.6), 0.0, 0.0, 0.0, expected(0.8), 0.0];
        for (found, expected) in found.iter().zip(expected) {
            assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} {expected}");
        }
    }

    #[test]
    fn no_gradient_is_no_direction() {
        assert_eq!(orthogonalized(vec![0.0; 6], (3, 2)), [0.0; 6]);
    }

    /// Tiny singular values are part of the test, since the Gram matrix squares them.
    #[test]
    fn it_is_the_composition() {
        for (rows, columns) in [(5, 40), (40, 5), (24, 24), (160, 960)] {
            let decaying = |i: usize| (i as f32 * 0.37).sin() * 10f32.powi(-((i % columns) as i32 % 6));
            let gradient: Vec<_> = (0..rows * columns).map(decaying).collect();
            let tensor = |x: &[f32]| Tensor::from_slice(x, (rows, columns, 1, 1), &Device::Cpu).unwrap();
            let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            for nesterov in [false, true] {
                let muon = Muon::new(0.1, 0.5, 0.9, nesterov, &[rows, columns, 1, 1]);
                let (mut w, mut m) = (vec![0.01; gradient.len()], vec![0.001; gradient.len()]);
                let (expected_w, expected_m) = muon.composition(&tensor(&w), &tensor(&gradient), &tensor(&m)).unwrap();
                let step = |w: &[f32]| w.iter().map(|w| w - 0.01 * (1.0 - 0.1 * 0.5)).collect::<Vec<_>>();
                muon.update(&mut w, &gradient, &mut m);
                assert!(distance(&step(&w), &step(&values(&expected_w))) < 1e-3, "weights {rows} by {columns}");
                assert!(distance(&m, &values(&expected_m)) < 1e-6, "momentum {rows} by {columns}");
            }
        }
    }

    /// The length of the difference, in lengths of `expected`.
    fn distance(found: &[f32], expected: &[f32]) -> f32 {
        let length = |x: &mut dyn Iterator<Item = f32>| x.map(|x| x * x).sum::<f32>().sqrt();
        let differences = &mut found.iter().zip(expected).map(|(a, b)| a - b);
        length(differences) / length(&mut expected.iter().copied())
    }
}
