//! A whole block in training: expand, batch norm, activation, depthwise, batch norm, activation, squeeze-and-excite,
//! project, batch norm, residual; forward and backward.
//!
//! What costs time here is memory: the expanded tensors are six times as large as the block's input. So of each
//! convolution only its output is kept, and what batch norm and activation make of it is computed again, tile by tile,
//! wherever it is needed. Batch norm's statistics are sums over the whole batch, which splits the work into phases; each
//! phase reads and writes an expanded tensor once:
//!
//! ```text
//! forward    expand      x -> e                     depthwise   act(bn(e)) -> d
//!            gates       mean of act(bn(d))         project     act(bn(d)) · gate -> p        output   bn(p) + x
//! backward   project     gy, p, d -> ga (the gradient of act(bn(d))), weight
//!            depthwise   ga, d, e -> ge (the gradient of act(bn(e))), weight
//!            expand      ge, e, x -> gx, weight
//! ```
//!
//! Images are divided into sixteen parts, worked on in parallel; each has partial sums of its own, added up in order.

use crate::activation::{Activation, Function, HSigmoid, Identity, with_function};
use crate::batch_norm::{Affine, Backward, GradientSums, Moments, Statistics, input_gradient, normalize, scale};
use crate::buffer::Buffer;
use crate::depthwise::{self, Frame, image_backward_input, image_backward_weight, image_forward};
use crate::matmul::{Matrix, matmul, matmul_few_rows, transposed};
use crate::parallel::{add_up_into, for_parts, images_per_part, map_parts, map_parts_mut};
use crate::pool::{add_rows, dot_rows, scale_rows, scale_shift_rows, sum_rows};
use crate::simd::Level;

/// Rows (pixels) of a tile: enough for a product of matrices to run at full speed, few enough to stay in the cache.
const TILE: usize = 256;

/// The sizes of a block.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Geometry {
    /// Images.
    pub n: usize,
    /// Channels of the input.
    pub c_in: usize,
    /// Channels of the output.
    pub c_out: usize,
    /// Whether there is an expansion; without, `depthwise.c` is `c_in`.
    pub has_expand: bool,
    /// The depthwise convolution, over the expanded channels.
    pub depthwise: depthwise::Geometry,
    /// The hidden width of the squeeze-and-excite.
    pub squeeze: Option<usize>,
    /// After the expansion and after the depthwise convolution.
    pub activation: Activation,
    /// Whether the input is added to the output.
    pub has_residual: bool,
    /// Added to the variances.
    pub eps: f64,
}

/// A convolution's weight, and its batch norm's weight and bias.
struct ConvNorm<'a> {
    weight: &'a [f32],
    gamma: &'a [f32],
    beta: &'a [f32],
}

struct SqueezeExcite<'a> {
    weight1: &'a [f32],
    bias1: &'a [f32],
    weight2: &'a [f32],
    bias2: &'a [f32],
}

struct Parameters<'a> {
    expand: Option<ConvNorm<'a>>,
    depthwise: ConvNorm<'a>,
    squeeze_excite: Option<SqueezeExcite<'a>>,
    project: ConvNorm<'a>,
}

impl Geometry {
    /// How long each parameter is, in the order of `theta`: weight, norm weight and norm bias of the
    /// expansion (if any) and of the depthwise convolution, the weights and biases of squeeze-and-excite (if any), and the
    /// projection's three. Weights are laid out as in PyTorch.
    pub fn parameter_lengths(&self) -> Vec<usize> {
        let (c, k) = (self.depthwise.c, self.depthwise.kernel);
        let mut lengths = Vec::new();
        if self.has_expand {
            lengths.extend([c * self.c_in, c, c]);
        }
        lengths.extend([c * k * k, c, c]);
        if let Some(s) = self.squeeze {
            lengths.extend([s * c, s, c * s, c]);
        }
        lengths.extend([self.c_out * c, self.c_out, self.c_out]);
        lengths
    }

    fn split<'a>(&self, theta: &[&'a [f32]]) -> Parameters<'a> {
        let mut parts = theta.iter().copied();
        let mut next = || parts.next().unwrap_or(&[]);
        let unit = |next: &mut dyn FnMut() -> &'a [f32]| ConvNorm { weight: next(), gamma: next(), beta: next() };
        let expand = self.has_expand.then(|| unit(&mut next));
        let depthwise = unit(&mut next);
        let squeeze_excite =
            self.squeeze.map(|_| SqueezeExcite { weight1: next(), bias1: next(), weight2: next(), bias2: next() });
        Parameters { expand, depthwise, squeeze_excite, project: unit(&mut next) }
    }

    /// Pixels of an input image.
    fn pixels_in(&self) -> usize {
        self.depthwise.h * self.depthwise.w
    }

    /// Pixels of an output image.
    fn pixels_out(&self) -> usize {
        self.depthwise.h_out() * self.depthwise.w_out()
    }

    fn assert_fits(&self, x: &[f32], theta: &[&[f32]], y: &[f32]) {
        assert_eq!(x.len(), self.n * self.pixels_in() * self.c_in, "images of {self:?}");
        assert_eq!(y.len(), self.n * self.pixels_out() * self.c_out, "outputs of {self:?}");
        assert!(theta.iter().map(|p| p.len()).eq(self.parameter_lengths()), "parameters of {self:?}");
        assert!(self.has_expand || self.depthwise.c == self.c_in, "channels of {self:?}");
        assert!(!self.has_residual || x.len() == y.len(), "residual of {self:?}");
        assert!(self.n > 0 && self.pixels_in() > 0, "pixels of {self:?}");
    }
}

/// A convolution's output with its statistics: what the backward needs of it.
struct Unit {
    pre: Buffer,
    statistics: Statistics,
    scale: Vec<f32>,
}

impl Unit {
    fn new(pre: Buffer, moments: &[Moments], gamma: &[f32], eps: f64) -> Self {
        let statistics = Moments::merge(moments);
        let scale = scale(gamma, &statistics.var, eps);
        Self { pre, statistics, scale }
    }

    fn affine<'a>(&'a self, beta: &'a [f32]) -> Affine<'a> {
        Affine { mean: &self.statistics.mean, scale: &self.scale, bias: beta }
    }

    fn backward(&self, sums: &[GradientSums], eps: f64) -> Backward {
        let rows = self.pre.len() / self.scale.len();
        GradientSums::merge(sums, rows, &self.scale, &self.statistics.var, eps)
    }
}

/// Squeeze-and-excite's values, a row per image.
struct Gates {
    mean: Vec<f32>,
    hidden: Vec<f32>,
    before: Vec<f32>,
    gates: Vec<f32>,
}

/// What a forward leaves for its backward.
pub struct Saved {
    expand: Option<Unit>,
    depthwise: Unit,
    gates: Option<Gates>,
    project: Unit,
}

impl Saved {
    /// The batch's statistics: of the expansion (if any), the depthwise convolution, and the projection.
    pub fn statistics(&self) -> (Option<&Statistics>, &Statistics, &Statistics) {
        (self.expand.as_ref().map(|e| &e.statistics), &self.depthwise.statistics, &self.project.statistics)
    }
}

/// `[n, h, w, c_in] -> [n, h', w', c_out]`, with the batch's statistics.
pub fn forward(g: &Geometry, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    g.assert_fits(x, theta, y);
    with_function!(g.activation, F => forward_with::<F>(g, x, theta, y))
}

/// `[n, h, w, c_in] -> [n, h', w', c_out]` with given statistics (mean and variance), in the order of [`Saved::statistics`].
pub fn infer(g: &Geometry, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    g.assert_fits(x, theta, y);
    assert_eq!(running.len(), 2 + usize::from(g.has_expand), "statistics of {g:?}");
    with_function!(g.activation, F => infer_with::<F>(g, x, theta, running, y));
}

/// The gradients of the input and of each parameter.
pub fn backward(g: &Geometry, x: &[f32], theta: &[&[f32]], saved: &Saved, gy: &[f32]) -> (Vec<f32>, Vec<Vec<f32>>) {
    g.assert_fits(x, theta, gy);
    with_function!(g.activation, F => backward_with::<F>(g, x, theta, saved, gy))
}

fn forward_with<F: Function>(g: &Geometry, x: &[f32], theta: &[&[f32]], y: &mut [f32]) -> Saved {
    let level = Level::best();
    let p = g.split(theta);
    let (c, images) = (g.depthwise.c, images_per_part(g.n));
    let (image_in, image_out) = (g.depthwise.image_in(), g.depthwise.image_out());
    let (pixels_in, pixels_out) = (g.pixels_in(), g.pixels_out());

    let expand = p.expand.as_ref().map(|unit| {
        let weight = transposed(unit.weight, c, g.c_in);
        let mut pre = Buffer::new(g.n * image_in);
        let moments = map_parts_mut(&mut pre, image_in, images, |first, pre| {
            let x = &x[first * pixels_in * g.c_in..][..pre.len() / c * g.c_in];
            let mut moments = Moments::new(c);
            for (x, pre) in x.chunks(TILE * g.c_in).zip(pre.chunks_mut(TILE * c)) {
                matmul(level, Matrix::new(x, x.len() / g.c_in, g.c_in), &weight, c, false, pre);
                moments.add(level, pre);
            }
            moments
        });
        Unit::new(pre, &moments, unit.gamma, g.eps)
    });

    let depthwise = {
        let windows = transposed(p.depthwise.weight, c, g.depthwise.kernel * g.depthwise.kernel);
        let mut pre = Buffer::new(g.n * image_out);
        let moments = map_parts_mut(&mut pre, image_out, images, |first, pre| {
            let mut frame = g.depthwise.input_frame();
            let mut moments = Moments::new(c);
            for (i, pre) in pre.chunks_exact_mut(image_out).enumerate() {
                depthwise_input::<F>(level, g, x, &p, expand.as_ref(), first + i, &mut frame);
                image_forward(level, &g.depthwise, &frame, &windows, pre);
                moments.add(level, pre);
            }
            moments
        });
        Unit::new(pre, &moments, p.depthwise.gamma, g.eps)
    };
    let affine = depthwise.affine(p.depthwise.beta);

    let gates = p.squeeze_excite.as_ref().map(|se| {
        let mut mean = vec![0.; g.n * c];
        for_parts(&mut mean, c, 1, |i, mean| {
            let mut tile = Buffer::new(TILE.min(pixels_out) * c);
            for rows in depthwise.pre[i * image_out..(i + 1) * image_out].chunks(TILE * c) {
                let tile = &mut tile[..rows.len()];
                normalize::<F>(level, rows, affine, tile);
                sum_rows(level, tile, mean);
            }
            mean.iter_mut().for_each(|m| *m /= pixels_out as f32);
        });
        Gates::new(level, se, mean, c)
    });

    let project = {
        let weight = transposed(p.project.weight, g.c_out, c);
        let mut pre = Buffer::new(g.n * pixels_out * g.c_out);
        let moments = map_parts_mut(&mut pre, pixels_out * g.c_out, images, |first, pre| {
            let mut moments = Moments::new(g.c_out);
            let mut tile = Buffer::new(TILE * c);
            for (t, pre) in pre.chunks_mut(TILE * g.c_out).enumerate() {
                let (row, rows) = (first * pixels_out + t * TILE, pre.len() / g.c_out);
                let tile = &mut tile[..rows * c];
                normalize::<F>(level, &depthwise.pre[row * c..][..rows * c], affine, tile);
                if let Some(gates) = &gates {
                    for_images(tile, row, pixels_out, c, |i, tile| scale_rows(level, gates.of(i, c), tile));
                }
                matmul(level, Matrix::new(tile, rows, c), &weight, g.c_out, false, pre);
                moments.add(level, pre);
            }
            moments
        });
        Unit::new(pre, &moments, p.project.gamma, g.eps)
    };

    for_parts(y, g.c_out, TILE, |row, y| {
        let at = row * g.c_out;
        normalize::<Identity>(level, &project.pre[at..at + y.len()], project.affine(p.project.beta), y);
        if g.has_residual {
            add_rows(level, &x[at..at + y.len()], y);
        }
    });
    Saved { expand, depthwise, gates, project }
}

fn infer_with<F: Function>(g: &Geometry, x: &[f32], theta: &[&[f32]], running: &[(&[f32], &[f32])], y: &mut [f32]) {
    let level = Level::best();
    let p = g.split(theta);
    let c = g.depthwise.c;
    let (pixels_in, pixels_out, w) = (g.pixels_in(), g.pixels_out(), g.depthwise.w);
    let units = p.expand.iter().chain([&p.depthwise, &p.project]);
    let scales: Vec<_> = units.clone().zip(running).map(|(unit, (_, var))| scale(unit.gamma, var, g.eps)).collect();
    let mut affines =
        units.zip(running).zip(&scales).map(|((unit, (mean, _)), scale)| Affine { mean, scale, bias: unit.beta });
    let mut next = || affines.next().unwrap_or(Affine { mean: &[], scale: &[], bias: &[] });
    let expand =
        p.expand.as_ref().map(|unit| (Product::new(unit.weight, g.c_in, c, pixels_in * images_per_part(g.n)), next()));
    let (depthwise_affine, project_affine) = (next(), next());
    let project = Product::new(p.project.weight, c, g.c_out, pixels_out * images_per_part(g.n));
    let windows = transposed(p.depthwise.weight, c, g.depthwise.kernel * g.depthwise.kernel);

    for_parts(y, pixels_out * g.c_out, images_per_part(g.n), |first, y| {
        let mut frame = g.depthwise.input_frame();
        let (mut filtered, mut tile) =
            (Buffer::new(pixels_out * c.max(g.c_out)), Buffer::new(pixels_out.max(TILE + w) * c));
        for (i, y) in y.chunks_exact_mut(pixels_out * g.c_out).enumerate() {
            let x = &x[(first + i) * pixels_in * g.c_in..][..pixels_in * g.c_in];
            match &expand {
                Some((product, affine)) => {
                    let rows_at_once = TILE.div_ceil(w);
                    let mut rows = frame.rows_mut();
                    for x in x.chunks(rows_at_once * w * g.c_in) {
                        let tile = &mut tile[..x.len() / g.c_in * c];
                        product.multiply(level, x, tile);
                        for (from, to) in tile.chunks_exact(w * c).zip(&mut rows) {
                            normalize::<F>(level, from, *affine, to);
                        }
                    }
                }
                None => frame.copy_from(x),
            }
            image_forward(level, &g.depthwise, &frame, &windows, &mut filtered[..pixels_out * c]);
            let activated = &mut tile[..pixels_out * c];
            normalize::<F>(level, &filtered[..pixels_out * c], depthwise_affine, activated);
            if let Some(se) = &p.squeeze_excite {
                let mut mean = vec![0.; c];
                sum_rows(level, activated, &mut mean);
                mean.iter_mut().for_each(|m| *m /= pixels_out as f32);
                scale_rows(level, &Gates::new(level, se, mean, c).gates, activated);
            }
            let projected = &mut filtered[..pixels_out * g.c_out];
            project.multiply(level, activated, projected);
            normalize::<Identity>(level, projected, project_affine, y);
            if g.has_residual {
                add_rows(level, x, y);
            }
        }
    });
}

/// A 1×1 convolution, its weight transposed where there are rows enough to make up for it.
struct Product<'a> {
    weight: &'a [f32],
    transposed: Option<Vec<f32>>,
    c_in: usize,
    c_out: usize,
}

impl<'a> Product<'a> {
    fn new(weight: &'a [f32], c_in: usize, c_out: usize, rows: usize) -> Self {
        Self { weight, transposed: (rows > 64).then(|| transposed(weight, c_out, c_in)), c_in, c_out }
    }

    fn multiply(&self, level: Level, xs: &[f32], ys: &mut [f32]) {
        match &self.transposed {
            Some(weight) => {
                matmul(level, Matrix::new(xs, xs.len() / self.c_in, self.c_in), weight, self.c_out, false, ys)
            }
            None => matmul_few_rows(level, xs, self.weight, self.c_in, self.c_out, ys),
        }
    }
}

fn backward_with<F: Function>(
    g: &Geometry,
    x: &[f32],
    theta: &[&[f32]],
    saved: &Saved,
    gy: &[f32],
) -> (Vec<f32>, Vec<Vec<f32>>) {
    let level = Level::best();
    let p = g.split(theta);
    let (c, images) = (g.depthwise.c, images_per_part(g.n));
    let (image_in, image_out) = (g.depthwise.image_in(), g.depthwise.image_out());
    let (pixels_in, pixels_out) = (g.pixels_in(), g.pixels_out());
    let Saved { expand, depthwise, gates, project } = saved;
    let mut gtheta = Vec::with_capacity(theta.len());

    // The projection's batch norm.
    let affine = project.affine(p.project.beta);
    let sums = map_parts(g.n, images, |part| {
        let part = part.start * pixels_out * g.c_out..part.end * pixels_out * g.c_out;
        let mut sums = GradientSums::new(g.c_out);
        sums.add::<Identity>(level, &project.pre[part.clone()], &gy[part], affine);
        sums
    });
    let project_norm = project.backward(&sums, g.eps);

    // The projection: its weight, and `ga`, the gradient of what the depthwise unit gives.
    let depthwise_affine = depthwise.affine(p.depthwise.beta);
    let mut ga = Buffer::new(g.n * image_out);
    let parts = map_parts_mut(&mut ga, image_out, images, |first, ga| {
        let mut gweight = Buffer::zeroed(g.c_out * c);
        let mut sums = GradientSums::new(c);
        let mut ggates = vec![0.; if gates.is_some() { ga.len() / image_out * c } else { 0 }];
        let (mut gp, mut tile) = (Buffer::new(TILE * g.c_out), Buffer::new(TILE * c));
        for (t, ga) in ga.chunks_mut(TILE * c).enumerate() {
            let (row, rows) = (first * pixels_out + t * TILE, ga.len() / c);
            let (gp, tile) = (&mut gp[..rows * g.c_out], &mut tile[..rows * c]);
            let at = row * g.c_out..(row + rows) * g.c_out;
            let Backward { slope, offset, .. } = &project_norm;
            input_gradient::<Identity>(level, &project.pre[at.clone()], &gy[at], affine, slope, offset, gp);
            matmul(level, Matrix::new(gp, rows, g.c_out), p.project.weight, c, false, ga);

            let pre = &depthwise.pre[row * c..(row + rows) * c];
            normalize::<F>(level, pre, depthwise_affine, tile);
            match gates {
                Some(gates) => for_images(tile, row, pixels_out, c, |i, tile| {
                    let from = (i * pixels_out).max(row) - row;
                    let ggate = &mut ggates[(i - first) * c..(i - first + 1) * c];
                    dot_rows(level, tile, &ga[from * c..][..tile.len()], ggate);
                    scale_rows(level, gates.of(i, c), tile);
                }),
                None => sums.add::<F>(level, pre, ga, depthwise_affine),
            }
            matmul(level, Matrix::new(gp, rows, g.c_out).t(), tile, c, true, &mut gweight);
        }
        (gweight, sums, ggates)
    });
    let (mut gweights, mut sums, mut ggates) = (Vec::new(), Vec::new(), Vec::new());
    for (gweight, sum, ggate) in parts {
        gweights.push(gweight);
        sums.push(sum);
        ggates.extend(ggate);
    }
    let mut project_weight = vec![0.; g.c_out * c];
    add_up_into(&gweights, &mut project_weight);
    drop(gweights);

    // Squeeze-and-excite: the gates scale `ga`, and its mean adds to it.
    let squeeze_gradients = match (gates, &p.squeeze_excite) {
        (Some(gates), Some(se)) => {
            let (gradients, mut gmean) = gates.backward(level, se, &ggates, c);
            gmean.iter_mut().for_each(|m| *m /= pixels_out as f32);
            sums = map_parts_mut(&mut ga, image_out, images, |first, ga| {
                let mut sums = GradientSums::new(c);
                for (i, ga) in ga.chunks_exact_mut(image_out).enumerate() {
                    let i = first + i;
                    let pre = &depthwise.pre[i * image_out..(i + 1) * image_out];
                    for (ga, pre) in ga.chunks_mut(TILE * c).zip(pre.chunks(TILE * c)) {
                        scale_shift_rows(level, gates.of(i, c), &gmean[i * c..(i + 1) * c], ga);
                        sums.add::<F>(level, pre, ga, depthwise_affine);
                    }
                }
                sums
            });
            Some(gradients)
        }
        _ => None,
    };
    let depthwise_norm = depthwise.backward(&sums, g.eps);

    // The depthwise convolution: its windows, and `ge`, the gradient of its input.
    let k2 = g.depthwise.kernel * g.depthwise.kernel;
    let windows = transposed(p.depthwise.weight, c, k2);
    let expand_affine = p.expand.as_ref().and_then(|unit| Some(expand.as_ref()?.affine(unit.beta)));
    let depthwise_backward = |ge: &mut [f32]| {
        map_parts_mut(ge, image_in, images, |first, ge| {
            let (mut frame_in, mut frame_out) = (g.depthwise.input_frame(), g.depthwise.output_frame());
            let mut gwindows = vec![0.; k2 * c];
            let mut sums = GradientSums::new(c);
            for (i, ge) in ge.chunks_exact_mut(image_in).enumerate() {
                let i = first + i;
                let at = i * image_out..(i + 1) * image_out;
                let row = g.depthwise.w_out() * c;
                let Backward { slope, offset, .. } = &depthwise_norm;
                for ((gd, pre), ga) in
                    frame_out.rows_mut().zip(depthwise.pre[at.clone()].chunks_exact(row)).zip(ga[at].chunks_exact(row))
                {
                    input_gradient::<F>(level, pre, ga, depthwise_affine, slope, offset, gd);
                }
                depthwise_input::<F>(level, g, x, &p, expand.as_ref(), i, &mut frame_in);
                image_backward_weight(level, &g.depthwise, &frame_in, &frame_out, &mut gwindows);
                image_backward_input(level, &g.depthwise, &frame_out, &windows, ge);
                match (expand, expand_affine) {
                    (Some(expand), Some(affine)) => {
                        let pre = &expand.pre[i * image_in..(i + 1) * image_in];
                        sums.add::<F>(level, pre, ge, affine);
                    }
                    _ if g.has_residual => add_rows(level, &gy[i * image_in..(i + 1) * image_in], ge),
                    _ => {}
                }
            }
            (gwindows, sums)
        })
    };
    let mut gx = vec![0.; x.len()];
    let mut ge = Buffer::default();
    let parts = match expand {
        Some(_) => {
            ge = Buffer::new(g.n * image_in);
            depthwise_backward(&mut ge)
        }
        None => depthwise_backward(&mut gx),
    };
    let (gwindows, sums): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let mut depthwise_weight = vec![0.; k2 * c];
    add_up_into(&gwindows, &mut depthwise_weight);
    drop(ga);

    // The expansion: its weight, and the gradient of the input.
    if let (Some(unit), Some(expand), Some(affine)) = (&p.expand, expand, expand_affine) {
        let norm = expand.backward(&sums, g.eps);
        let gweights = map_parts_mut(&mut gx, pixels_in * g.c_in, images, |first, gx| {
            let mut gweight = Buffer::zeroed(c * g.c_in);
            let mut tile = Buffer::new(TILE * c);
            for (t, gx) in gx.chunks_mut(TILE * g.c_in).enumerate() {
                let (row, rows) = (first * pixels_in + t * TILE, gx.len() / g.c_in);
                let tile = &mut tile[..rows * c];
                let at = row * c..(row + rows) * c;
                input_gradient::<F>(level, &expand.pre[at.clone()], &ge[at], affine, &norm.slope, &norm.offset, tile);
                matmul(level, Matrix::new(tile, rows, c), unit.weight, g.c_in, false, gx);
                let at = row * g.c_in..(row + rows) * g.c_in;
                matmul(level, Matrix::new(tile, rows, c).t(), &x[at.clone()], g.c_in, true, &mut gweight);
                if g.has_residual {
                    add_rows(level, &gy[at], gx);
                }
            }
            gweight
        });
        let mut weight = vec![0.; c * g.c_in];
        add_up_into(&gweights, &mut weight);
        gtheta.extend([weight, norm.weight, norm.bias]);
    }
    gtheta.extend([transposed(&depthwise_weight, k2, c), depthwise_norm.weight, depthwise_norm.bias]);
    gtheta.extend(squeeze_gradients.into_iter().flatten());
    gtheta.extend([project_weight, project_norm.weight, project_norm.bias]);
    (gx, gtheta)
}

/// Writes what the depthwise convolution sees of image `i` into `frame`: `act(bn(e))`, or `x` where nothing is expanded.
fn depthwise_input<F: Function>(
    level: Level,
    g: &Geometry,
    x: &[f32],
    p: &Parameters,
    expand: Option<&Unit>,
    i: usize,
    frame: &mut Frame,
) {
    let image = i * g.depthwise.image_in()..(i + 1) * g.depthwise.image_in();
    match (expand, &p.expand) {
        (Some(expand), Some(unit)) => {
            let affine = expand.affine(unit.beta);
            let rows = expand.pre[image].chunks_exact(g.depthwise.w * g.depthwise.c);
            frame.rows_mut().zip(rows).for_each(|(to, from)| normalize::<F>(level, from, affine, to));
        }
        _ => frame.copy_from(&x[image]),
    }
}

/// Calls `f(image, its rows)` for the rows of `tile`, which begins at row `first` of a batch of images of `pixels` rows.
fn for_images(tile: &mut [f32], first: usize, pixels: usize, c: usize, mut f: impl FnMut(usize, &mut [f32])) {
    let (mut row, mut rest) = (first, tile);
    while !rest.is_empty() {
        let i = row / pixels;
        let rows = ((i + 1) * pixels - row).min(rest.len() / c);
        let (head, tail) = rest.split_at_mut(rows * c);
        f(i, head);
        (row, rest) = (row + rows, tail);
    }
}

impl Gates {
    /// `gates = h-sigmoid(relu(mean · weight1ᵀ + bias1) · weight2ᵀ + bias2)`
    fn new(level: Level, se: &SqueezeExcite, mean: Vec<f32>, c: usize) -> Self {
        let squeeze = se.bias1.len();
        let dense = |xs: &[f32], weight: &[f32], bias: &[f32]| {
            let (c_in, c_out) = (weight.len() / bias.len(), bias.len());
            let rows = xs.len() / c_in;
            let mut ys = vec![0.; rows * c_out];
            Product::new(weight, c_in, c_out, rows).multiply(level, xs, &mut ys);
            ys.chunks_exact_mut(c_out).for_each(|y| add_rows(level, bias, y));
            ys
        };
        let mut hidden = dense(&mean, se.weight1, se.bias1);
        hidden.iter_mut().for_each(|h| *h = if *h < 0. { 0. } else { *h });
        debug_assert_eq!(se.weight2.len(), squeeze * c);
        let before = dense(&hidden, se.weight2, se.bias2);
        let gates = before.iter().map(|b| HSigmoid::value(*b)).collect();
        Self { mean, hidden, before, gates }
    }

    /// The gates of image `i`.
    fn of(&self, i: usize, c: usize) -> &[f32] {
        &self.gates[i * c..(i + 1) * c]
    }

    /// The gradients of weight1, bias1, weight2, bias2; and of the means.
    fn backward(&self, level: Level, se: &SqueezeExcite, ggates: &[f32], c: usize) -> ([Vec<f32>; 4], Vec<f32>) {
        let squeeze = se.bias1.len();
        let n = ggates.len() / c;
        let column_sums = |xs: &[f32], c: usize| {
            let mut sums = vec![0.; c];
            sum_rows(level, xs, &mut sums);
            sums
        };
        let product = |a: Matrix, b: &[f32], m: usize, n: usize| {
            let mut out = vec![0.; m * n];
            matmul(level, a, b, n, false, &mut out);
            out
        };
        let gbefore: Vec<f32> = ggates.iter().zip(&self.before).map(|(g, b)| g * HSigmoid::derivative(*b)).collect();
        let mut ghidden = product(Matrix::new(&gbefore, n, c), se.weight2, n, squeeze);
        ghidden.iter_mut().zip(&self.hidden).for_each(|(g, h)| *g = if *h > 0. { *g } else { 0. });
        let gradients = [
            product(Matrix::new(&ghidden, n, squeeze).t(), &self.mean, squeeze, c),
            column_sums(&ghidden, squeeze),
            product(Matrix::new(&gbefore, n, c).t(), &self.hidden, c, squeeze),
            column_sums(&gbefore, c),
        ];
        (gradients, product(Matrix::new(&ghidden, n, squeeze), se.weight1, n, c))
    }
}
