use super::{Norm, activate, exp, exponentials, normalise};
use crate::config::Activation;
use crate::kernel::{Job, Kernel, run, run_portable};

/// A function to be applied to some values.
struct Applied<'a>(Vec<f32>, Function<'a>);

#[derive(Clone, Copy)]
enum Function<'a> {
    Exp,
    Activate(Activation),
    /// With the sum in the last place.
    Exponentials(f32),
    Normalise(&'a Norm),
}

impl Job for Applied<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<K: Kernel>(self, kernel: K) -> Vec<f32> {
        let Self(mut values, function) = self;
        match function {
            Function::Exp => {
                for value in &mut values {
                    *value = exp(kernel, *value);
                }
            }
            Function::Activate(activation) => activate(kernel, activation, &mut values),
            Function::Exponentials(scale) => {
                let sum = exponentials(kernel, &mut values, scale);
                values.push(sum);
            }
            Function::Normalise(norm) => normalise(kernel, norm, &mut values),
        }
        values
    }
}

/// Compares on each kind of processor; a difference may be a share of the
/// value, or a little in itself.
#[track_caller]
fn check(values: &[f32], function: Function<'_>, expected: &[f64], share: f64, little: f64) {
    let found = [
        run(Applied(values.to_vec(), function)),
        run_portable(Applied(values.to_vec(), function)),
    ];
    for found in found {
        assert_eq!(found.len(), expected.len());
        for (&found, &expected) in found.iter().zip(expected) {
            let difference = (f64::from(found) - expected).abs();
            let limit = expected.abs() * share + little;
            assert!(difference <= limit, "{found}, not {expected}");
        }
    }
}

/// Values from `-limit` to `limit`, at steps of 1/128.
fn values(limit: i16) -> Vec<f32> {
    let steps = -128 * limit..=128 * limit;
    steps.map(|step| f32::from(step) / 128.0).collect()
}

fn map(values: &[f32], function: impl Fn(f64) -> f64) -> Vec<f64> {
    values.iter().map(|&value| function(value.into())).collect()
}

#[test]
fn powers_of_e_are_as_near_as_said() {
    let mut values = values(87);
    values.retain(|&value| value <= 0.0);
    check(&values, Function::Exp, &map(&values, f64::exp), 2e-7, 0.0);
    let far = [-87.5, -1e3, -1e30, f32::NEG_INFINITY];
    check(&far, Function::Exp, &[(-87_f64).exp(); 4], 2e-7, 0.0);
    assert!(run(Applied(vec![f32::NAN], Function::Exp))[0].is_nan());
}

#[test]
fn each_activation_is_its_formula() {
    let values = values(12);
    let gelu = map(&values, |x| {
        0.5 * x * (1.0 + erf(x / std::f64::consts::SQRT_2))
    });
    let function = Function::Activate(Activation::Gelu);
    check(&values, function, &gelu, 3e-7, 3e-7);
    let tanh = map(&values, |x| {
        let root = (2.0 / std::f64::consts::PI).sqrt();
        0.5 * x * (1.0 + (root * (x + 0.044_715 * x.powi(3))).tanh())
    });
    let function = Function::Activate(Activation::GeluTanh);
    check(&values, function, &tanh, 3e-6, 1e-7);
    let relu = map(&values, |x| x.max(0.0));
    check(
        &values,
        Function::Activate(Activation::Relu),
        &relu,
        0.0,
        0.0,
    );
}

#[test]
fn exponentials_have_the_largest_at_one() {
    for count in [1, 15, 16, 17, 100] {
        let values: Vec<f32> = (0_u8..count)
            .map(|at| f32::from(at.wrapping_mul(37)))
            .collect();
        let largest = values.iter().fold(0.0, |a: f64, &b| a.max(b.into()));
        let mut expected = map(&values, |x| (0.25 * (x - largest)).exp());
        expected.push(expected.iter().sum());
        check(&values, Function::Exponentials(0.25), &expected, 1e-6, 0.0);
    }
}

#[test]
fn a_norm_has_the_mean_and_the_variance_of_all_values() {
    for count in [1_u8, 15, 16, 17, 100] {
        let norm = Norm {
            factors: (0..count).map(|at| f32::from(at) / 10.0).collect(),
            shifts: (0..count).map(|at| f32::from(at % 7)).collect(),
            epsilon: 0.5,
        };
        let values: Vec<f32> = (0..count)
            .map(|at| f32::from(at.wrapping_mul(37)))
            .collect();
        let number = f64::from(count);
        let mean = map(&values, |x| x).iter().sum::<f64>() / number;
        let variance = map(&values, |x| (x - mean).powi(2)).iter().sum::<f64>() / number;
        let scaled = map(&values, |x| (x - mean) / (variance + 0.5).sqrt());
        let parts = scaled.iter().zip(norm.factors.iter().zip(&norm.shifts));
        let expected: Vec<f64> = parts
            .map(|(value, (&factor, &shift))| value * f64::from(factor) + f64::from(shift))
            .collect();
        check(&values, Function::Normalise(&norm), &expected, 1e-6, 1e-5);
    }
}

/// 2/√π e^(−x²) Σ 2^n x^(2n+1) / (1·3·…·(2n+1)); all terms have one sign.
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum) = (x, x);
    for n in 1..300 {
        term *= 2.0 * x * x / (2.0 * f64::from(n) + 1.0);
        sum += term;
    }
    2.0 / std::f64::consts::PI.sqrt() * (-x * x).exp() * sum
}
