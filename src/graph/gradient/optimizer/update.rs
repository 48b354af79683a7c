//! What an optimizer writes its update of one parameter with: arithmetic on tensors of that parameter's shape, and its state.
//!
//! Knows no particular optimizer.

use super::{Carried, Optimizer, Parameter, Tape};

/// The update of one parameter in the making.
pub(super) struct Update<'a> {
    pub(super) tape: &'a mut Tape,
    pub(super) optimizer: &'a Optimizer,
    /// What the kind makes of the learning rate.
    pub(super) rate: &'a str,
    /// The parameter.
    pub(super) w: &'a str,
    /// Its shape.
    pub(super) shape: Vec<usize>,
    /// The state of all parameters so far.
    pub(super) state: &'a mut Vec<Carried>,
}

impl Update<'_> {
    /// A declared parameter of the optimizer, in the precision of the graph.
    pub(super) fn number(&self, parameter: &Parameter) -> f32 {
        self.optimizer.number(parameter)
    }

    pub(super) fn flag(&self, parameter: &Parameter) -> bool {
        self.optimizer.value(parameter.name) != 0.0
    }

    /// A tensor that is carried from step to step, 0 before the first; [`Carried::output`] is to be emitted.
    pub(super) fn slot(&mut self, role: &str) -> Carried {
        let input = format!("{}/{role}", self.w);
        let slot = Carried { output: format!("{input}/next"), input, shape: self.shape.clone() };
        self.state.push(slot.clone());
        slot
    }

    /// `w ← w + step`.
    pub(super) fn add(&mut self, step: &str) {
        self.tape.emit_as(&self.output(), "Add", &[self.w, step], Vec::new());
    }

    /// `w ← w − step`.
    pub(super) fn subtract(&mut self, step: &str) {
        self.tape.emit_as(&self.output(), "Sub", &[self.w, step], Vec::new());
    }

    /// The updated parameter.
    pub(super) fn output(&self) -> String {
        format!("{}/next", self.w)
    }

    /// Adds a node over tensors of one shape.
    pub(super) fn emit(&mut self, op: &str, inputs: &[&str]) -> String {
        self.tape.emit(op, inputs, Vec::new())
    }

    /// Adds a node that makes `output`.
    pub(super) fn emit_as(&mut self, output: &str, op: &str, inputs: &[&str]) {
        self.tape.emit_as(output, op, inputs, Vec::new());
    }

    pub(super) fn scale(&mut self, tensor: &str, factor: f32) -> String {
        let factor = self.tape.scalar(factor);
        self.tape.with_scalar("Mul", tensor, &factor, &self.shape)
    }

    pub(super) fn shift(&mut self, tensor: &str, by: f32) -> String {
        let by = self.tape.scalar(by);
        self.tape.with_scalar("Add", tensor, &by, &self.shape)
    }

    /// The tensor times the rate.
    pub(super) fn at_rate(&mut self, tensor: &str) -> String {
        self.tape.with_scalar("Mul", tensor, self.rate, &self.shape)
    }
}

impl Optimizer {
    /// A declared parameter, in the precision of the graph.
    pub(super) fn number(&self, parameter: &Parameter) -> f32 {
        self.value(parameter.name) as f32
    }
}
