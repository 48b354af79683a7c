//! Early stopping and the best epoch, as Keras's `EarlyStopping` and `ModelCheckpoint(save_best_only=True)` count them.
//!
//! Knows losses; knows no weights.

use serde::{Deserialize, Serialize};

use super::recipe::EarlyStopping;

/// What was best so far in a phase; part of a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, Default)]
pub struct Watch {
    /// The best validation loss and its epoch, from 0 within the phase.
    pub best: Option<(f64, u64)>,
    /// Epochs since an improvement of at least `min_delta`.
    pub waited: u64,
    /// What an improvement is measured against.
    reference: Option<f64>,
}

/// What an epoch's loss means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// It is the best of the phase: its weights are the ones to keep.
    pub best: bool,
    /// The phase ends here.
    pub stop: bool,
}

impl Watch {
    /// Takes the validation loss of `epoch`.
    ///
    /// Like Keras: a loss improves when it is below the reference by more than `min_delta`; the phase ends once `patience`
    /// epochs in a row did not. Without `stopping` it never ends early. NaN is never best.
    pub fn observe(&mut self, epoch: u64, loss: f64, stopping: Option<&EarlyStopping>) -> Verdict {
        let best = !loss.is_nan() && self.best.is_none_or(|(best, _)| loss < best);
        if best {
            self.best = Some((loss, epoch));
        }
        let Some(stopping) = stopping else { return Verdict { best, stop: false } };
        self.waited += 1;
        if self.reference.is_none_or(|reference| loss + stopping.min_delta < reference) && !loss.is_nan() {
            self.reference = Some(loss);
            self.waited = 0;
        }
        Verdict { best, stop: self.waited >= stopping.patience && epoch > 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::training::recipe::Monitor;

    #[test]
    fn phases_end_as_in_keras() {
        #[track_caller]
        fn check(patience: u64, min_delta: f64, losses: &[f64], stops_at: Option<u64>, best: Option<u64>) {
            let stopping = EarlyStopping { monitor: Monitor::ValLoss, patience, min_delta };
            let mut watch = Watch::default();
            let stopped = (0..).zip(losses).find(|(epoch, loss)| watch.observe(*epoch, **loss, Some(&stopping)).stop);
            assert_eq!(stopped.map(|(epoch, _)| epoch), stops_at, "{losses:?}");
            assert_eq!(watch.best.map(|(_, epoch)| epoch), best, "{losses:?}");
        }
        check(1, 0.0, &[3.0, 2.0, 2.0, 1.0], Some(2), Some(1));
        check(2, 0.0, &[3.0, 2.0, 2.5, 1.0, 1.5, 1.0], Some(5), Some(3));
        check(2, 0.5, &[3.0, 2.8, 2.6, 1.0], Some(2), Some(2));
        check(2, 0.5, &[3.0, 2.8, 2.4, 2.3], None, Some(3));
        check(3, 0.0, &[1.0, 2.0, 2.0], None, Some(0));
        check(1, 0.0, &[f64::NAN, f64::NAN], Some(1), None);
    }

    #[test]
    fn without_patience_nothing_ends() {
        let mut watch = Watch::default();
        assert_eq!(watch.observe(0, 1.0, None), Verdict { best: true, stop: false });
        assert_eq!(watch.observe(1, 2.0, None), Verdict { best: false, stop: false });
        assert_eq!(watch.best, Some((1.0, 0)));
    }
}
