//! Each backward gets its own gradients: beside others of the same layers on other threads, after one that failed, and
//! after a forward whose backward never ran.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, CustomOp1, DType, Device, Layout, Result, Shape, Tensor, bail};
use candle_nn::{ModuleT, VarBuilder, VarMap};
use mobilenet_layers::{
    Activation, BatchNormConfig, ConvBnAct, ConvBnActConfig, LinearBottleneck, Stack, seeded_var_builder,
};

const NORM: BatchNormConfig = BatchNormConfig { eps: 1e-3, momentum: 0.1 };

/// A convolution, a block, and a convolution, as one operation.
fn stack(vb: &VarBuilder) -> Result<Stack> {
    let unit = |c_in, c_out, config, name: &str| {
        ConvBnAct::new(c_in, c_out, config, vb.pp(name).pp("conv"), vb.pp(name).pp("norm"))
    };
    let wide = ConvBnActConfig::pointwise(NORM, Activation::HSwish);
    let block = LinearBottleneck::new(
        Some(unit(8, 24, wide, "expand")?),
        unit(24, 24, ConvBnActConfig::depthwise(3, 1, 1, NORM, Activation::HSwish), "depthwise")?,
        None,
        unit(24, 8, ConvBnActConfig::pointwise(NORM, Activation::Identity), "project")?,
        true,
    )?;
    let stem = unit(3, 8, ConvBnActConfig::dense(3, 2, NORM, Activation::HSwish), "stem")?;
    Stack::new(vec![stem.into(), block.into(), unit(8, 16, wide, "last")?.into()])
}

fn images(seed: usize) -> Result<Tensor> {
    let values: Vec<f32> = (0..4 * 3 * 8 * 8).map(|i| ((i * 7919 + seed * 104_729) % 997) as f32 / 499. - 1.).collect();
    Tensor::from_vec(values, (4, 3, 8, 8), &Device::Cpu)
}

fn loss(stack: &Stack, seed: usize) -> Result<Tensor> {
    stack.forward_t(&images(seed)?, true)?.sqr()?.mean_all()
}

/// The gradients of all variables in the order of their names, `None` where there is none.
fn of_variables(vars: &VarMap, store: &GradStore) -> Result<Vec<Option<Vec<f32>>>> {
    let vars = vars.data().lock().expect("no test panics with the lock");
    let mut names: Vec<_> = vars.keys().filter(|name| !name.contains("running")).collect();
    names.sort();
    names.iter().map(|name| store.get(&vars[*name]).map(|g| g.flatten_all()?.to_vec1()).transpose()).collect()
}

#[test]
fn concurrent_backwards_of_one_model_are_those_of_one_after_the_other() -> Result<()> {
    const THREADS: usize = 4;
    let vars = VarMap::new();
    let stack = stack(&seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu))?;
    for round in 0..10 {
        let seeds = (0..THREADS).map(|i| round * THREADS + i);
        let expected: Vec<_> =
            seeds.clone().map(|seed| of_variables(&vars, &loss(&stack, seed)?.backward()?)).collect::<Result<_>>()?;
        assert!(expected.iter().flatten().all(Option::is_some));
        let losses = seeds.map(|seed| loss(&stack, seed)).collect::<Result<Vec<_>>>()?;
        let barrier = Barrier::new(THREADS);
        let found = std::thread::scope(|scope| {
            let backward = |loss: Tensor| {
                let (barrier, vars) = (&barrier, &vars);
                scope.spawn(move || {
                    barrier.wait();
                    of_variables(vars, &loss.backward()?)
                })
            };
            let threads: Vec<_> = losses.into_iter().map(backward).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<Vec<_>>>()
        })?;
        assert_eq!(found, expected, "round {round}");
    }
    Ok(())
}

#[test]
fn concurrent_backwards_of_one_graph_get_the_same_gradients() -> Result<()> {
    let vars = VarMap::new();
    let stack = stack(&seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu))?;
    for seed in 0..10 {
        let loss = loss(&stack, seed)?;
        let expected = of_variables(&vars, &loss.backward()?)?;
        let found = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| of_variables(&vars, &loss.backward()?))).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect::<Result<Vec<_>>>()
        })?;
        assert!(found.iter().all(|found| *found == expected), "seed {seed}");
    }
    Ok(())
}

#[test]
fn two_uses_in_one_graph_add_up() -> Result<()> {
    let vars = VarMap::new();
    let stack = stack(&seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu))?;
    let [one, two] = [1, 2].map(|seed| of_variables(&vars, &loss(&stack, seed)?.backward()?));
    let both = of_variables(&vars, &(loss(&stack, 1)? + loss(&stack, 2)?)?.backward()?)?;
    for ((one, two), both) in one?.iter().zip(&two?).zip(&both) {
        let (Some(one), Some(two), Some(both)) = (one, two, both) else { panic!("a variable without a gradient") };
        let largest = one.iter().chain(two).fold(0f32, |largest, g| largest.max(g.abs()));
        for ((one, two), both) in one.iter().zip(two).zip(both) {
            assert!((one + two - both).abs() <= 1e-6 * largest, "{one} + {two} is not {both}");
        }
    }
    Ok(())
}

#[test]
fn a_forward_without_a_backward_leaves_nothing() -> Result<()> {
    let vars = VarMap::new();
    let stack = stack(&seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu))?;
    let expected = of_variables(&vars, &loss(&stack, 1)?.backward()?)?;
    let abandoned = loss(&stack, 2)?;
    assert_eq!(of_variables(&vars, &loss(&stack, 1)?.backward()?)?, expected);
    drop(abandoned);
    assert_eq!(of_variables(&vars, &loss(&stack, 1)?.backward()?)?, expected);
    Ok(())
}

/// The identity, whose backward fails when told to.
struct Poison(Arc<AtomicBool>);

impl CustomOp1 for Poison {
    fn name(&self) -> &'static str {
        "poison"
    }

    fn cpu_fwd(&self, xs: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(xs.as_slice::<f32>()?.to_vec()), layout.shape().clone()))
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        if self.0.load(Ordering::Relaxed) {
            bail!("poisoned")
        }
        Ok(Some(gradient.clone()))
    }
}

#[test]
fn a_backward_that_failed_leaves_nothing_to_the_next() -> Result<()> {
    let vars = VarMap::new();
    stack(&seeded_var_builder(&vars, 1, DType::F32, &Device::Cpu))?;
    let fails = Arc::new(AtomicBool::new(false));
    // Each parameter in turn gets its value from an operation that fails when the gradient comes to it: some of the
    // others' gradients have been delivered by then, and some have not.
    let names: Vec<String> = vars.data().lock().expect("no test panics with the lock").keys().cloned().collect();
    for poisoned in names.iter().filter(|name| !name.contains("running")) {
        let mut tensors = std::collections::HashMap::new();
        for (name, var) in vars.data().lock().expect("no test panics with the lock").iter() {
            let tensor = var.as_tensor().clone();
            let tensor = if name == poisoned { tensor.apply_op1(Poison(fails.clone()))? } else { tensor };
            tensors.insert(name.clone(), tensor);
        }
        let stack = stack(&VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu))?;
        let expected = of_variables(&vars, &loss(&stack, 1)?.backward()?)?;
        let graph = loss(&stack, 2)?;
        fails.store(true, Ordering::Relaxed);
        let error = graph.backward().map(drop).expect_err("the poison");
        assert!(error.to_string().contains("poisoned"), "{error}");
        fails.store(false, Ordering::Relaxed);
        assert_eq!(of_variables(&vars, &loss(&stack, 1)?.backward()?)?, expected, "after {poisoned} failed");
        // The graph that failed can be tried again.
        assert!(of_variables(&vars, &graph.backward()?)?.iter().all(Option::is_some));
    }
    Ok(())
}
