//! How a conversation sounds, from what is measured of it: the E-model (ITU-T G.107) for G.711.
//!
//! All parameters but loss and delay have their default values (G.107, table 2), so that the rating without either is
//! 93.2; echo is taken to be cancelled. What G.711 suffers from loss is ITU-T G.113, appendix I. Measures nothing.

use std::time::Duration;

/// Ro less Is with all defaults.
const UNDISTURBED: f64 = 93.2;
/// Robustness of G.711 against random loss, with concealment and without (G.113, table I.4); its Ie is 0.
const ROBUST_CONCEALED: f64 = 25.1;
const ROBUST_BARE: f64 = 4.3;
/// Delay up to here costs nothing.
const DELAY_FREE_MS: f64 = 100.0;

/// The transmission rating R: 0 to 100, of which below 50 nobody is content.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Rating(pub f64);

impl Rating {
    /// Of random loss (0 to 1), with or without concealment at the listener, and a one-way delay.
    pub fn new(loss: f64, concealed: bool, delay: Duration) -> Rating {
        let percent = loss.clamp(0.0, 1.0) * 100.0;
        let robust = if concealed { ROBUST_CONCEALED } else { ROBUST_BARE };
        // G.107 §7.5: Ie,eff with Ie 0 and BurstR 1.
        let equipment = 95.0 * percent / (percent + robust);
        Rating((UNDISTURBED - equipment - delay_impairment(delay)).clamp(0.0, 100.0))
    }

    /// The mean opinion score, 1 to 4.5 (G.107, annex B).
    pub fn mos(self) -> f64 {
        let r = self.0;
        (1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6).clamp(1.0, 4.5)
    }
}

/// Idd (G.107 §7.4.3).
fn delay_impairment(delay: Duration) -> f64 {
    let ms = delay.as_secs_f64() * 1_000.0;
    if ms <= DELAY_FREE_MS {
        return 0.0;
    }
    let x = (ms / DELAY_FREE_MS).log2();
    25.0 * ((1.0 + x.powi(6)).powf(1.0 / 6.0) - 3.0 * (1.0 + (x / 3.0).powi(6)).powf(1.0 / 6.0) + 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Loss in percent, MOS without and with concealment: G.107 with G.113, appendix I.
    #[test]
    fn loss_is_rated_as_the_tables_say() {
        for (percent, bare, concealed) in [(0.0, 4.41, 4.41), (1.0, 3.83, 4.33), (2.0, 3.26, 4.23), (5.0, 2.17, 3.92)] {
            let mos = |concealed| Rating::new(percent / 100.0, concealed, Duration::ZERO).mos();
            assert!((mos(false) - bare).abs() < 0.006 && (mos(true) - concealed).abs() < 0.006, "{percent} %");
        }
        assert_eq!(Rating::new(0.0, true, Duration::from_millis(100)).0, 93.2);
    }

    /// G.107's Idd: nothing up to 100 ms, then more and more.
    #[test]
    fn delay_costs_from_100_ms_on() {
        let rating = |ms| Rating::new(0.0, true, Duration::from_millis(ms)).0;
        let cost: Vec<f64> = [150, 200, 300, 400, 1_000].map(|ms| 93.2 - rating(ms)).into();
        for (cost, expected) in cost.iter().zip([0.16, 3.04, 14.76, 24.07, 43.79]) {
            assert!((cost - expected).abs() < 0.01, "{cost} for {expected}");
        }
        assert!(cost.windows(2).all(|two| two[0] < two[1]));
        assert_eq!((Rating::new(9.0, false, Duration::MAX).0, Rating(0.0).mos()), (0.0, 1.0));
    }
}
