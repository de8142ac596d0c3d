//! Draws from a fixed seed that come out the same on every machine. The generator (`ChaCha8`) is specified to the bit; the
//! distributions are written here because the usual ones call the system's `ln`, `exp` and `powf`, whose last bit
//! differs between platforms. Here only `+ - * /` and `sqrt` are used, which IEEE 754 rounds the same everywhere.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

/// One stream of draws. Streams of the same seed are independent, so what happens to one customer never moves another.
#[derive(Clone, Debug)]
pub(super) struct Draw(ChaCha8Rng);

impl Draw {
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        let mut rng = ChaCha8Rng::from_seed(key);
        rng.set_stream(stream);
        Draw(rng)
    }

    /// 64 random bits.
    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Uniform in `[0, 1)`.
    pub(super) fn uniform(&mut self) -> f64 {
        real(self.bits() >> 11) * (1.0 / 9_007_199_254_740_992.0)
    }

    /// Yes with `probability`.
    pub(super) fn chance(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }

    /// Whether something that happens at `hazard` per day happens today: with probability `1 - exp(-hazard)`.
    pub(super) fn happens(&mut self, hazard: f64) -> bool {
        happens(self.uniform(), hazard)
    }

    /// Uniform in `0..n`; `n` must not be zero.
    pub(super) fn below(&mut self, n: usize) -> usize {
        let wide = u128::from(self.bits()) * (n as u128);
        usize::try_from(wide >> 64).expect("the upper half of a product with n is below n")
    }

    /// Uniform in `low..=high`.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let span = usize::try_from(high - low + 1).expect("low is not above high");
        low + i64::try_from(self.below(span)).expect("below an i64")
    }

    /// One of `items`, all equally likely.
    pub(super) fn pick<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[self.below(items.len())]
    }

    /// An index into `weights`, each as likely as its weight.
    pub(super) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.uniform() * weights.iter().sum::<f64>();
        for (index, weight) in weights.iter().enumerate() {
            left -= weight;
            if left < 0.0 {
                return index;
            }
        }
        weights.len() - 1
    }

    pub(super) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * ln(1.0 - self.uniform())
    }

    /// Standard normal, by Marsaglia's polar method.
    pub(super) fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.uniform() - 1.0, 2.0 * self.uniform() - 1.0);
            let s = x * x + y * y;
            if s > 0.0 && s < 1.0 {
                return x * (-2.0 * ln(s) / s).sqrt();
            }
        }
    }

    /// Gamma with mean `shape * scale`, by Marsaglia and Tsang (2000).
    pub(super) fn gamma(&mut self, shape: f64, scale: f64) -> f64 {
        if shape < 1.0 {
            let boost = exp(ln(1.0 - self.uniform()) / shape);
            return self.gamma(shape + 1.0, scale) * boost;
        }
        let d = shape - 1.0 / 3.0;
        let c = 1.0 / (9.0 * d).sqrt();
        loop {
            let x = self.normal();
            let v = 1.0 + c * x;
            if v <= 0.0 {
                continue;
            }
            let v = v * v * v;
            if ln(1.0 - self.uniform()) < 0.5 * x * x + d - d * v + d * ln(v) {
                return d * v * scale;
            }
        }
    }

    /// Beta with mean `a / (a + b)`.
    pub(super) fn beta(&mut self, a: f64, b: f64) -> f64 {
        let x = self.gamma(a, 1.0);
        let y = self.gamma(b, 1.0);
        x / (x + y)
    }

    /// Poisson, by Knuth's product of uniforms: for means up to some dozens.
    pub(super) fn poisson(&mut self, mean: f64) -> usize {
        let floor = exp(-mean);
        let (mut n, mut product) = (0, self.uniform());
        while product > floor {
            n += 1;
            product *= self.uniform();
        }
        n
    }
}

/// Whether something happens at `hazard` per day, by a uniform draw.
pub(super) fn happens(u: f64, hazard: f64) -> bool {
    // 1 - exp(-h) <= h: the exponential is only needed on the few days on which it could matter.
    u < hazard && u < 1.0 - exp(-hazard)
}

/// The natural logarithm of a positive number, to about one part in 10^15, the same on every machine.
pub(super) fn ln(x: f64) -> f64 {
    if x < f64::MIN_POSITIVE {
        return -709.0;
    }
    let bits = x.to_bits();
    let mut exponent = real(bits >> 52) - 1023.0;
    let mut mantissa = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) | 0x3ff0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1.0;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), whose argument is at most 0.172.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let (mut sum, mut power, mut odd) = (0.0, s, 1.0);
    for _ in 0..12 {
        sum += power / odd;
        power *= square;
        odd += 2.0;
    }
    exponent * std::f64::consts::LN_2 + 2.0 * sum
}

/// The exponential, to about one part in 10^15, the same on every machine.
pub(super) fn exp(x: f64) -> f64 {
    let x = x.clamp(-700.0, 700.0);
    let doublings = (x / std::f64::consts::LN_2 + 0.5).floor();
    let rest = x - doublings * std::f64::consts::LN_2;
    let (mut sum, mut term, mut n) = (1.0, 1.0, 1.0);
    for _ in 0..16 {
        term *= rest / n;
        sum += term;
        n += 1.0;
    }
    let exponent = u64::try_from(whole(doublings) + 1023).expect("clamped to what a double can show");
    sum * f64::from_bits(exponent << 52)
}

/// `base` to the power of `exponent`; `base` must be positive.
pub(super) fn power(base: f64, exponent: f64) -> f64 {
    exp(exponent * ln(base))
}

/// A count as a real number.
#[expect(clippy::cast_precision_loss, reason = "counts and 53-bit integers are shown exactly")]
pub(super) fn real(n: u64) -> f64 {
    n as f64
}

/// The nearest whole number, halves away from zero.
#[expect(clippy::cast_possible_truncation, reason = "rounded before; amounts and days are far below 2^53")]
pub(super) fn whole(x: f64) -> i64 {
    x.round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(mut one: impl FnMut() -> f64) -> (f64, f64) {
        let n = 20_000;
        let values: Vec<f64> = (0..n).map(|_| one()).collect();
        let mean = values.iter().sum::<f64>() / real(n);
        (mean, values.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / real(n))
    }

    #[test]
    fn our_ln_and_exp_agree_with_the_systems() {
        for x in [1e-300, 1e-9, 0.3, 0.999_999, 1.0, 1.5, 2.0, 7.25, 1e6, 1e300] {
            assert!((ln(x) - x.ln()).abs() <= 1e-13 * x.ln().abs().max(1e-3), "ln {x}");
        }
        for x in [-600.0, -3.7, -1e-9, 0.0, 0.5, 1.0, 33.3, 600.0_f64] {
            assert!((exp(x) / x.exp() - 1.0).abs() < 1e-12, "exp {x}");
        }
        assert!((power(4.0, 1.5) - 8.0).abs() < 1e-12);
    }

    #[test]
    fn the_distributions_have_their_means_and_variances() {
        let mut draw = Draw::new(7, 0);
        let near = |(mean, variance): (f64, f64), m: f64, v: f64| {
            assert!((mean - m).abs() < 0.03 * m.abs().max(1.0), "mean {mean}, expected {m}");
            assert!((variance - v).abs() < 0.08 * v, "variance {variance}, expected {v}");
        };
        near(moments(|| draw.normal()), 0.0, 1.0);
        near(moments(|| draw.exponential(3.0)), 3.0, 9.0);
        near(moments(|| draw.gamma(0.6, 2.0)), 1.2, 2.4);
        near(moments(|| draw.gamma(5.0, 2.0)), 10.0, 20.0);
        near(moments(|| draw.beta(0.8, 2.4)), 0.25, 0.25 * 0.75 / 4.2);
        near(moments(|| real(draw.poisson(4.0) as u64)), 4.0, 4.0);
    }

    #[test]
    fn the_stream_is_pinned_to_the_bit() {
        let mut draw = Draw::new(2026, 16);
        let seen: Vec<u64> = vec![draw.bits(), draw.gamma(1.3, 40.0).to_bits(), draw.normal().to_bits()];
        assert_eq!(seen, PINNED, "the same draws on every machine and after every upgrade");
        assert_ne!(Draw::new(2026, 17).bits(), PINNED[0], "another stream is another story");
    }

    const PINNED: [u64; 3] = [2_002_945_422_235_916_883, 4_631_490_335_744_964_236, 13_806_676_536_233_951_352];
}
