//! Features as JSON, `.npy`, `.npz` or a plot; runs away from the async threads.
//!
//! Knows values and formats; the size was checked before ([`super::size`]).

use std::io::Cursor;

use base64::{Engine, prelude::BASE64_STANDARD};
use half::f16;

use super::{
    accept::Format,
    dto::{FeatureItem, FeaturesAnswer, FeaturesOutcome, LayerValues, Values, WarningDto},
    error::ApiError,
    image_parameters::Form,
    images::Caption,
};
use crate::{
    inference::{self, Answer, ImageAnswer, ModelId},
    plot::{self, Picture, Plot, Series},
    preprocess::{ImageError, Preprocessing},
    tensor::{Dtype, Tensor, little_endian, npy::write_npy, npz::NpzWriter},
};

/// Arrays of an `.npz` that are no layers; a layer of such a name is written as `layer/NAME`.
const RESERVED: [&str; 3] = ["images", "top_k_index", "top_k_score"];

/// An answer of features and what it is called.
#[derive(Debug)]
pub struct Output {
    /// Which model answered.
    pub model: ModelId,
    /// What whoever asks should know of it.
    pub warnings: Vec<WarningDto>,
    /// How images became input, where the request made it another than the model's.
    pub input: Option<Preprocessing>,
    /// Layer names, in the order of every image's features.
    pub layers: Vec<String>,
    /// What the images are called, in order.
    pub captions: Vec<Caption>,
    /// Whether classes were asked for.
    pub with_top_k: bool,
    /// Outcomes, in order.
    pub answer: Answer,
}

impl Output {
    /// The body in `form`.
    ///
    /// # Errors
    /// A value that float16 cannot hold; [`ApiError::Internal`] when the engine's answer is not what its plan said.
    pub fn encode(self, form: Form) -> Result<Vec<u8>, ApiError> {
        match form.format {
            Format::Json => self.json(form),
            Format::Npy => self.npy(form.dtype),
            Format::Npz => self.npz(form.dtype),
            Format::Svg => self.plot(Picture::Svg),
            Format::Png => self.plot(Picture::Png),
        }
    }

    fn json(self, form: Form) -> Result<Vec<u8>, ApiError> {
        let Self { model, warnings, input, layers, captions, with_top_k, answer } = self;
        let outcomes = answer.images.into_iter().zip(captions).enumerate();
        let features = outcomes.map(|(position, (outcome, caption))| item(&layers, position, caption, outcome, with_top_k, form));
        let body = FeaturesAnswer {
            model: (&model).into(),
            warnings,
            input,
            features: features.collect::<Result<_, _>>()?,
            timings: answer.timings.into(),
        };
        serde_json::to_vec(&body).map_err(ApiError::internal)
    }

    fn npy(self, dtype: Dtype) -> Result<Vec<u8>, ApiError> {
        let [layer] = self.layers.as_slice() else {
            return Err(ApiError::internal("an .npy holds exactly one layer"));
        };
        let images = whole(&self.answer)?;
        let (shape, data) = stack(layer, &images, 0, dtype)?;
        let mut file = Vec::with_capacity(data.len() + 256);
        write_npy(&mut file, dtype, &shape, &data).map_err(ApiError::internal)?;
        Ok(file)
    }

    fn plot(self, picture: Picture) -> Result<Vec<u8>, ApiError> {
        let images = whole(&self.answer)?;
        let ([layer], Some(shape)) = (self.layers.as_slice(), images.first().and_then(|image| image.features.first())) else {
            return Err(ApiError::internal("a plot shows exactly one layer"));
        };
        let ModelId { name, version, pretrained } = &self.model;
        let title = plot::title(&format!("{name}@{version}"), *pretrained, layer, shape.shape());
        let values = images.iter().filter_map(|image| image.features.first()).map(Tensor::data);
        let series =
            self.captions.iter().zip(values).map(|(caption, values)| Series { name: caption.as_ref(), values }).collect();
        Plot { title, series }.draw(picture).map_err(ApiError::internal)
    }

    fn npz(self, dtype: Dtype) -> Result<Vec<u8>, ApiError> {
        let images = whole(&self.answer)?;
        let mut file = NpzWriter::new(Cursor::new(Vec::new()));
        for (position, layer) in self.layers.iter().enumerate() {
            let (shape, data) = stack(layer, &images, position, dtype)?;
            let name = if RESERVED.contains(&layer.as_str()) { format!("layer/{layer}") } else { layer.clone() };
            file.add(&name, dtype, &shape, &data).map_err(ApiError::internal)?;
        }
        file.add_strings("images", &self.captions).map_err(ApiError::internal)?;
        if self.with_top_k {
            let classes = images.first().map_or(0, |image| image.top_k.len());
            let all = || images.iter().flat_map(|image| &image.top_k);
            let shape = [images.len(), classes];
            let index: Vec<i64> = all().map(|class| class.index as i64).collect();
            let score: Vec<f32> = all().map(|class| class.score).collect();
            file.add_integers("top_k_index", &shape, &index).map_err(ApiError::internal)?;
            let score = little_endian(Dtype::F32, &score).map_err(ApiError::internal)?;
            file.add("top_k_score", Dtype::F32, &shape, &score).map_err(ApiError::internal)?;
        }
        Ok(file.finish().map_err(ApiError::internal)?.into_inner())
    }
}

fn item(
    layers: &[String],
    position: usize,
    caption: Caption,
    outcome: Result<ImageAnswer, ImageError>,
    with_top_k: bool,
    form: Form,
) -> Result<FeaturesOutcome, ApiError> {
    let answer = match outcome {
        Ok(answer) => answer,
        Err(error) => return Ok(FeaturesOutcome::Skipped(caption.problem(&error).into())),
    };
    let values = layers.iter().zip(answer.features).map(|(layer, tensor)| {
        let (shape, data) = tensor.into_parts();
        Ok((layer.clone(), LayerValues { shape, data: values(layer, position, data, form)? }))
    });
    Ok(FeaturesOutcome::Answered(FeatureItem {
        image: caption.into_name(),
        layers: values.collect::<Result<_, ApiError>>()?,
        top_k: with_top_k.then(|| answer.top_k.into_iter().map(Into::into).collect()),
        warnings: answer.warnings.iter().map(Into::into).collect(),
    }))
}

fn values(layer: &str, image: usize, mut data: Vec<f32>, form: Form) -> Result<Values, ApiError> {
    if form.base64 {
        return Ok(Values::Base64(BASE64_STANDARD.encode(bytes(layer, image, &data, form.dtype)?)));
    }
    if form.dtype == Dtype::F16 {
        for value in &mut data {
            *value = f16::from_f32(*value).to_f32();
        }
    }
    // JSON has no infinity: `serde_json` would write null.
    if data.iter().all(|value| value.is_finite()) { Ok(Values::Numbers(data)) } else { Err(not_finite(layer, image, form.dtype)) }
}

/// One layer of all images as `(images, *shape)`, little-endian.
fn stack(layer: &str, images: &[&ImageAnswer], position: usize, dtype: Dtype) -> Result<(Vec<usize>, Vec<u8>), ApiError> {
    let tensors: Option<Vec<&Tensor>> = images.iter().map(|image| image.features.get(position)).collect();
    let tensors = tensors.ok_or_else(|| ApiError::internal(format!("an image has no output of `{layer}`")))?;
    let inner = tensors.first().map(|tensor| tensor.shape()).unwrap_or_default();
    let shape: Vec<usize> = std::iter::once(images.len()).chain(inner.iter().copied()).collect();
    let mut data = Vec::with_capacity(tensors.iter().map(|tensor| tensor.data().len() * dtype.size()).sum());
    for (image, tensor) in tensors.iter().enumerate() {
        data.extend_from_slice(&bytes(layer, image, tensor.data(), dtype)?);
    }
    Ok((shape, data))
}

fn bytes(layer: &str, image: usize, data: &[f32], dtype: Dtype) -> Result<Vec<u8>, ApiError> {
    little_endian(dtype, data).map_err(|_| not_finite(layer, image, dtype))
}

fn not_finite(layer: &str, image: usize, dtype: Dtype) -> ApiError {
    ApiError::Engine(inference::Error::NotFinite { layer: layer.to_owned(), image, float16: dtype == Dtype::F16 })
}

fn whole(answer: &Answer) -> Result<Vec<&ImageAnswer>, ApiError> {
    let images: Result<Vec<&ImageAnswer>, &ImageError> = answer.images.iter().map(Result::as_ref).collect();
    images.map_err(|error| ApiError::internal(error.clone()))
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use serde_json::{Value, json};

    use super::*;
    use crate::{
        inference::{Class, Timings},
        preprocess::Warning,
    };

    const JSON: Form = Form { format: Format::Json, dtype: Dtype::F32, base64: false };

    fn image(values: &[f32]) -> Result<ImageAnswer, ImageError> {
        let tensor = |shape: Vec<usize>| Tensor::new(shape, values.to_vec()).expect("the shape fits");
        Ok(ImageAnswer {
            novelty: None,
            top_k: vec![Class { index: 7, label: "cock".to_owned(), wnid: None, score: 0.5 }],
            features: vec![tensor(vec![values.len()]), tensor(vec![1, 1, values.len()])],
            warnings: vec![Warning::OrientationIgnored(6)],
        })
    }

    fn output(images: Vec<Result<ImageAnswer, ImageError>>) -> Output {
        let captions = (0..images.len()).map(|position| Caption::new(format!("{position}.jpg"))).collect();
        let model = ModelId { name: "vgg16".to_owned(), version: 1, pretrained: true };
        let layers = vec!["b".to_owned(), "images".to_owned()];
        Output {
            model,
            warnings: Vec::new(),
            input: None,
            layers,
            captions,
            with_top_k: true,
            answer: Answer { images, timings: Timings::default() },
        }
    }

    fn json(form: Form, images: Vec<Result<ImageAnswer, ImageError>>) -> Value {
        serde_json::from_slice(&output(images).encode(form).expect("every value is finite")).expect("it is JSON")
    }

    #[test]
    fn json_has_the_bodies_that_clients_rely_on() {
        let body = json(JSON, vec![image(&[1.0, -0.1]), Err(ImageError::Empty)]);
        assert_eq!(body["model"], json!({"name": "vgg16", "version": 1, "pretrained": true}));
        assert_eq!(body["timings"], json!({"decode_ms": 0.0, "queue_ms": 0.0, "inference_ms": 0.0}));
        let first = &body["features"][0];
        assert_eq!(first["image"], "0.jpg");
        assert_eq!(serde_json::to_string(&first["layers"]["b"]).expect("JSON"), r#"{"shape":[2],"data":[1.0,-0.1]}"#);
        assert_eq!(first["layers"]["images"]["shape"], json!([1, 1, 2]));
        assert_eq!(first["top_k"], json!([{"index": 7, "label": "cock", "score": 0.5}]));
        assert_eq!(first["warnings"][0]["code"], "orientation_ignored");
        let second = &body["features"][1];
        assert_eq!((&second["image"], &second["error"]["code"]), (&json!("1.jpg"), &json!("empty")));
    }

    #[test]
    fn dtype_and_encoding_shape_the_data() {
        let data = |dtype, base64, values: &[f32]| {
            json(Form { dtype, base64, ..JSON }, vec![image(values)])["features"][0]["layers"]["b"]["data"].clone()
        };
        assert_eq!(data(Dtype::F32, true, &[1.0]), json!("AACAPw=="));
        assert_eq!(data(Dtype::F16, true, &[1.0]), json!("ADw="));
        assert_eq!(data(Dtype::F16, false, &[0.1])[0].as_f64().map(|value| value as f32), Some(f16::from_f32(0.1).to_f32()));
    }

    #[test]
    fn what_is_not_finite_is_an_error() {
        for form in [JSON, Form { base64: true, ..JSON }, Form { format: Format::Npz, ..JSON }] {
            for (dtype, value, fits) in
                [(Dtype::F16, 70_000.0, false), (Dtype::F32, 70_000.0, true), (Dtype::F32, f32::NAN, false)]
            {
                let got = output(vec![image(&[value])]).encode(Form { dtype, ..form });
                assert_eq!(got.is_ok(), fits, "{dtype:?} {value} as {form:?}");
                if let Err(error) = got {
                    assert!(error.to_string().contains("layer `b` of image `0`"), "{error}");
                }
            }
        }
    }

    #[test]
    fn npz_holds_layers_names_and_classes() {
        let file =
            output(vec![image(&[1.0, 2.0]), image(&[3.0, 4.0])]).encode(Form { format: Format::Npz, ..JSON }).expect("finite");
        let mut zip = zip::ZipArchive::new(Cursor::new(file)).expect("it is a zip");
        let names: Vec<String> = zip.file_names().map(|name| name.expect("UTF-8").into_owned()).collect();
        assert_eq!(names, ["b.npy", "layer/images.npy", "images.npy", "top_k_index.npy", "top_k_score.npy"]);
        let array = crate::tensor::npy::read_npy(zip.by_name("b.npy").expect("listed"), 1000).expect("it is an npy");
        assert_eq!((array.shape(), array.data()), ([2, 2].as_slice(), [1.0, 2.0, 3.0, 4.0].as_slice()));
        let mut index = Vec::new();
        zip.by_name("top_k_index.npy").expect("listed").read_to_end(&mut index).expect("readable");
        let header = String::from_utf8_lossy(&index[..128]).into_owned();
        assert!(header.contains("'descr': '<i8'") && header.contains("'shape': (2, 1)"), "NumPy indexes with integers: {header}");
        assert_eq!(index[128..], [7_i64, 7].map(i64::to_le_bytes).concat());
    }

    #[test]
    fn npy_holds_one_layer_of_all_images() {
        let mut one = output(vec![image(&[1.0, 2.0]), image(&[3.0, 4.0])]);
        one.layers.truncate(1);
        let file = one.encode(Form { format: Format::Npy, ..JSON }).expect("finite");
        let array = crate::tensor::npy::read_npy(file.as_slice(), 1000).expect("it is an npy");
        assert_eq!((array.shape(), array.data()), ([2, 2].as_slice(), [1.0, 2.0, 3.0, 4.0].as_slice()));
        assert!(output(vec![image(&[1.0])]).encode(Form { format: Format::Npy, ..JSON }).is_err(), "two layers are no npy");
    }
}
