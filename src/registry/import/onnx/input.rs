//! What the graph takes: where its channels are, how many, of which type, and the size of its images.
//!
//! Reads the graph and the settings; runs nothing. What neither says is assumed, and the assumption told.

use crate::{
    graph::{DeclaredInput, FirstUse, Graph, InputKind, InputLayout},
    preprocess::{ChannelOrder, IntegerType, Mode, Preprocessing, Resize},
    registry::{
        import::{ImportError, OnnxSettings},
        known_model,
    },
};

/// The usual side of an image, where nothing says another.
const USUAL_SIDE: u32 = 224;

/// Sides that are tried where the usual one does not run: those of well-known networks and data sets.
const OTHER_SIDES: [u32; 14] = [299, 256, 240, 384, 227, 192, 160, 128, 96, 64, 32, 28, 331, 512];

/// The image that the graph takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ImageInput {
    /// Where its channels are.
    pub layout: InputLayout,
    /// 3 or 1.
    pub channels: u64,
    /// Height and width in pixels; the first of [`Self::sizes`] until one has run.
    pub size: [u32; 2],
    /// Its type, when it holds whole numbers.
    pub integer: Option<IntegerType>,
    /// What was assumed: a setting and what it was taken for.
    pub assumed: Vec<(&'static str, String)>,
    /// Sizes to try in turn, when the size is assumed.
    others: Vec<[u32; 2]>,
}

impl ImageInput {
    /// The image that `graph` takes, which becomes the model `name`.
    ///
    /// # Errors
    /// An input that is no batch of colour or grey images; settings that the graph contradicts; axes that cannot be told.
    pub(super) fn of(graph: &Graph, name: &str, settings: &OnnxSettings) -> Result<Self, ImportError> {
        let declared = graph.declared_input()?;
        let question = Question { declared: &declared, first_use: graph.first_use(), settings };
        if declared.shape.len() != 4 {
            return Err(refused("input_layout", format!("{}; graft needs four axes: N×C×H×W or N×H×W×C", question.says())));
        }
        if let Some(batch) = declared.shape[0].fixed().filter(|batch| !(1..=MAX_BATCH).contains(batch)) {
            return Err(refused(
                "input_layout",
                format!("{}: {batch} images a run, but graft runs 1 to {MAX_BATCH}", question.says()),
            ));
        }
        let mut assumed = Vec::new();
        let layout = question.layout()?;
        let channels = question.channels(layout, &mut assumed)?;
        let (size, others) = question.size(layout, name, &mut assumed)?;
        let integer = match declared.kind {
            InputKind::Integer(integer) => Some(integer),
            InputKind::Float(_) | InputKind::OtherFloat(_) => None,
        };
        Ok(Self { layout, channels, size, integer, assumed, others })
    }

    /// The sizes that may be meant, likeliest first.
    pub(super) fn sizes(&self) -> Vec<[u32; 2]> {
        std::iter::once(self.size).chain(self.others.iter().copied()).collect()
    }

    /// How images usually become such an input, and that in words: whole numbers are fed as they are, grey from 0 to 1, colours as
    /// PyTorch's models have them.
    pub(super) fn usual(&self) -> (Preprocessing, &'static str) {
        let [height, width] = self.size;
        let of_mode = |mode| Preprocessing { resize: Resize::Bilinear, ..Preprocessing::keras(mode, height, width) };
        match (self.integer, self.channels) {
            (Some(_), _) => (of_mode(Mode::None), "none (values from 0 to 255, as whole numbers)"),
            (None, 1) => {
                (Preprocessing { scale: [1.0 / 255.0; 3], ..of_mode(Mode::None) }, "none with scale 1/255 (grey from 0 to 1)")
            }
            (None, _) => (of_mode(Mode::Torch), "torch (RGB, less ImageNet's mean, over its deviation)"),
        }
    }

    /// `spec` for the channels and the type of this input.
    pub(super) fn taking(&self, spec: Preprocessing) -> Preprocessing {
        let channel_order = if self.channels == 1 { ChannelOrder::Grey } else { spec.channel_order };
        Preprocessing { channel_order, integer: self.integer, ..spec }
    }

    /// The same with a size that has run.
    pub(super) fn with_size(mut self, size: [u32; 2]) -> Self {
        if size != self.size {
            self.assumed.retain(|(setting, _)| *setting != "input_size");
            let [height, width] = size;
            self.assumed.push(("input_size", format!("{height} × {width}: the graph leaves it open, but refuses {USUAL_SIDE}")));
        }
        Self { size, ..self }
    }

    /// Why none of the sizes is right, when they were guesses.
    pub(super) fn no_size_runs(&self) -> ImportError {
        let sides: Vec<String> = self.sizes().iter().map(|[height, _]| height.to_string()).collect();
        let reason = format!("the graph leaves its input's size open and runs with none of {}: give it", sides.join(", "));
        refused("input_size", reason)
    }
}

/// Most images of a run that a graph may fix: as many as `runtime.max_batch` may be.
const MAX_BATCH: u64 = 1024;

/// What is known of an input.
struct Question<'a> {
    declared: &'a DeclaredInput,
    first_use: Option<FirstUse>,
    settings: &'a OnnxSettings,
}

/// What an axis may be, by its size.
#[derive(Clone, Copy, PartialEq, Eq)]
enum MayBe {
    Channels,
    Anything,
    Side,
}

impl Question<'_> {
    fn says(&self) -> String {
        let dims: Vec<String> = self.declared.shape.iter().map(ToString::to_string).collect();
        let shape = if dims.is_empty() { "no shape".to_owned() } else { format!("shape {}", dims.join("×")) };
        format!("the graph's input `{}` has {shape}", self.declared.name)
    }

    fn fixed(&self, axis: usize) -> Option<u64> {
        self.declared.shape[axis].fixed()
    }

    fn layout(&self) -> Result<InputLayout, ImportError> {
        if let Some(layout) = self.settings.input_layout {
            return Ok(layout);
        }
        let may = |axis| match self.fixed(axis) {
            None => MayBe::Anything,
            Some(1 | 3) => MayBe::Channels,
            Some(_) => MayBe::Side,
        };
        let used = || match self.first_use {
            Some(FirstUse { axis: 1, .. }) => Some(InputLayout::Nchw),
            Some(FirstUse { axis: 3, .. }) => Some(InputLayout::Nhwc),
            _ => None,
        };
        let cannot_tell = || {
            refused(
                "input_layout",
                format!("{}, of which graft cannot tell where its channels are; give `nchw` or `nhwc`", self.says()),
            )
        };
        match (may(1), may(3)) {
            (MayBe::Channels, MayBe::Side | MayBe::Anything) | (MayBe::Anything, MayBe::Side) => Ok(InputLayout::Nchw),
            (MayBe::Side | MayBe::Anything, MayBe::Channels) | (MayBe::Side, MayBe::Anything) => Ok(InputLayout::Nhwc),
            // Pictures of one or three pixels: as PyTorch has them, unless the graph shows another use.
            (MayBe::Channels, MayBe::Channels) => Ok(used().unwrap_or(InputLayout::Nchw)),
            (MayBe::Anything, MayBe::Anything) => used().ok_or_else(cannot_tell),
            (MayBe::Side, MayBe::Side) => Err(self.wrong_channels(self.fixed(1).min(self.fixed(3)).unwrap_or(0))),
        }
    }

    fn wrong_channels(&self, channels: u64) -> ImportError {
        refused("input_layout", format!("{}: {channels} channels, but graft makes images of 3 (RGB) or of 1 (grey)", self.says()))
    }

    fn channels(&self, layout: InputLayout, assumed: &mut Vec<(&'static str, String)>) -> Result<u64, ImportError> {
        let axis = if layout == InputLayout::Nchw { 1 } else { 3 };
        let used = || self.first_use.filter(|used| used.axis == axis).and_then(|used| used.channels);
        let wanted = self.settings.channel_order.map(|order| if order == ChannelOrder::Grey { 1 } else { 3 });
        let channels = self.fixed(axis).or_else(used).or(wanted).unwrap_or_else(|| {
            assumed.push(("channel_order", "rgb: the graph does not say how many channels it takes".to_owned()));
            3
        });
        match wanted {
            _ if channels != 1 && channels != 3 => Err(self.wrong_channels(channels)),
            Some(wanted) if wanted != channels => {
                let given = self.settings.channel_order.map(|order| order.to_string()).unwrap_or_default();
                Err(refused("channel_order", format!("`{given}` was given, but the graph takes {channels} channels")))
            }
            _ => Ok(channels),
        }
    }

    fn size(
        &self,
        layout: InputLayout,
        name: &str,
        assumed: &mut Vec<(&'static str, String)>,
    ) -> Result<([u32; 2], Vec<[u32; 2]>), ImportError> {
        let axes = if layout == InputLayout::Nchw { [2, 3] } else { [1, 2] };
        let own = axes.map(|axis| self.fixed(axis).and_then(|side| u32::try_from(side).ok()));
        if let Some(wanted) = self.settings.input_size {
            let contradicted = own.iter().zip(wanted).find(|(own, wanted)| own.is_some_and(|own| own != *wanted));
            return match contradicted {
                Some((_, wanted)) => Err(refused("input_size", format!("{wanted} was given, but {}", self.says()))),
                None => Ok((wanted, Vec::new())),
            };
        }
        let assume = |height: u32, width: u32, why: &str| ("input_size", format!("{height} × {width}: {why}"));
        match own {
            [Some(height), Some(width)] => Ok(([height, width], Vec::new())),
            [Some(side), None] | [None, Some(side)] => {
                assumed.push(assume(side, side, "the graph fixes one side only"));
                Ok(([side, side], Vec::new()))
            }
            [None, None] => match known_model(name).map(|known| &known.preprocessing) {
                Some(known) => {
                    assumed.push(assume(known.height, known.width, "the graph leaves it open; the catalogue's model has it"));
                    Ok(([known.height, known.width], Vec::new()))
                }
                None => {
                    assumed.push(assume(USUAL_SIDE, USUAL_SIDE, "the graph leaves it open"));
                    Ok(([USUAL_SIDE; 2], OTHER_SIDES.map(|side| [side; 2]).to_vec()))
                }
            },
        }
    }
}

fn refused(setting: &'static str, reason: String) -> ImportError {
    ImportError::Setting { setting, reason }
}
