//! The forms in which each network is shipped.

use mobilenet_arch::{Activation, LayerKind, ModelConfig, Network, Preset, summary};
use mobilenet_schema::{Form, Profile};

/// How many epochs a network is trained after a change, and with it, before it is measured once more; none where the
/// trainings are so short that this would be much beside them, and would show how much was left to learn.
pub fn tuning_epochs(profile: Profile) -> Option<u64> {
    match profile {
        Profile::Smoke | Profile::Quick => None,
        Profile::Fast => Some(1),
        Profile::Article => Some(3),
    }
}

/// The forms of a network that a comparison measures, float32 first: what 8 bits cost, and what simpler activations
/// cost where the network has others; each of them also after [`tuning_epochs`]. `smoke` leaves the activations as they
/// are.
pub fn forms(network: Network, profile: Profile) -> Vec<Form> {
    let tuned = |form: Form| form.tuned().filter(|_| tuning_epochs(profile).is_some());
    changes(network, profile).into_iter().flat_map(|form| [Some(form), tuned(form)]).flatten().collect()
}

/// The forms without training after the change.
fn changes(network: Network, profile: Profile) -> Vec<Form> {
    let mut forms = vec![Form::Float32, Form::Int8];
    if profile == Profile::Smoke {
        return forms;
    }
    if has_activation(network, Activation::HSwish) {
        forms.extend([Form::Pieces4, Form::Relu6]);
    } else if has_activation(network, Activation::Relu6) {
        forms.push(Form::Relu);
    }
    forms
}

/// Whether a network has layers with this activation.
pub fn has_activation(network: Network, activation: Activation) -> bool {
    let preset = Preset::Cifar;
    let size = preset.image_size();
    // No width changes an activation.
    let summary = summary(&ModelConfig::new(network.arch, 10, preset), (size, size));
    let is_one = |kind: LayerKind, detail: &str| kind == LayerKind::Activation && detail == activation.name();
    summary.is_ok_and(|summary| summary.layers.iter().any(|layer| is_one(layer.kind, &layer.detail)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swaps_follow_the_activations() {
        use Form::{Float32, Int8, Int8Qat, Pieces4, Pieces4Tuned, Relu, Relu6, Relu6Tuned, ReluTuned};
        for (key, profile, want) in [
            ("v2", Profile::Smoke, vec![Float32, Int8]),
            ("v3-large", Profile::Smoke, vec![Float32, Int8]),
            ("v2@0.5", Profile::Quick, vec![Float32, Int8, Relu]),
            ("v1", Profile::Article, vec![Float32, Int8, Int8Qat]),
            ("v2", Profile::Fast, vec![Float32, Int8, Int8Qat, Relu, ReluTuned]),
            ("v2-hs", Profile::Quick, vec![Float32, Int8, Pieces4, Relu6]),
            ("v3-small", Profile::Fast, vec![Float32, Int8, Int8Qat, Pieces4, Pieces4Tuned, Relu6, Relu6Tuned]),
        ] {
            assert_eq!(forms(key.parse().unwrap(), profile), want, "{key}, {profile}");
        }
    }
}
