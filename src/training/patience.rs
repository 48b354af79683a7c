//! Early stopping, as Keras's `EarlyStopping` counts.
//!
//! Knows losses; knows no weights.

use serde::{Deserialize, Serialize};

use super::recipe::EarlyStopping;

/// How long the validation loss has not improved in a phase; part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct Patience {
    /// Epochs since an improvement of at least `min_delta`.
    waited: u64,
    /// What an improvement is measured against.
    reference: Option<f64>,
}

impl Patience {
    /// Takes the validation loss of `epoch`; whether the phase ends with it.
    ///
    /// Like Keras: a loss improves when it is below the reference by more than `min_delta`; the phase ends once `patience`
    /// epochs in a row did not. NaN is no improvement.
    pub fn ends(&mut self, epoch: u64, loss: f64, stopping: &EarlyStopping) -> bool {
        self.waited += 1;
        if self.reference.is_none_or(|reference| loss + stopping.min_delta < reference) && !loss.is_nan() {
            self.reference = Some(loss);
            self.waited = 0;
        }
        self.waited >= stopping.patience && epoch > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::recipe::Monitor;

    #[test]
    fn phases_end_as_in_keras() {
        #[track_caller]
        fn check(patience: u64, min_delta: f64, losses: &[f64], stops_at: Option<u64>) {
            let stopping = EarlyStopping { monitor: Monitor::ValLoss, patience, min_delta };
            let mut patience = Patience::default();
            let stopped = (0..).zip(losses).find(|(epoch, loss)| patience.ends(*epoch, **loss, &stopping));
            assert_eq!(stopped.map(|(epoch, _)| epoch), stops_at, "{losses:?}");
        }
        check(1, 0.0, &[3.0, 2.0, 2.0, 1.0], Some(2));
        check(2, 0.0, &[3.0, 2.0, 2.5, 1.0, 1.5, 1.0], Some(5));
        check(2, 0.5, &[3.0, 2.8, 2.6, 1.0], Some(2));
        check(2, 0.5, &[3.0, 2.8, 2.4, 2.3], None);
        check(3, 0.0, &[1.0, 2.0, 2.0], None);
        check(1, 0.0, &[f64::NAN, f64::NAN], Some(1));
    }
}
