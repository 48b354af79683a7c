//! Content negotiation for `/features`: which of JSON, `.npy`, `.npz` and pictures an `Accept` header asks for.
//!
//! RFC 9110 §12.5.1: the most specific matching range gives each type its quality; the highest quality wins.

use axum::http::{HeaderMap, header};

use super::error::ApiError;
use crate::{message::excerpt, plot::Picture};

/// How features are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`.
    Json,
    /// `application/x-npy`: one array.
    Npy,
    /// `application/x-npz`: a zip of arrays.
    Npz,
    /// `image/svg+xml`: a line plot of one layer.
    Svg,
    /// `image/png`: the same.
    Png,
}

impl Format {
    /// Every format, in the server's order of preference.
    pub const ALL: [Self; 5] = [Self::Json, Self::Npy, Self::Npz, Self::Svg, Self::Png];

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Npy => "application/x-npy",
            Self::Npz => "application/x-npz",
            Self::Svg => "image/svg+xml",
            Self::Png => "image/png",
        }
    }

    /// The picture that it is, if it is one.
    pub fn picture(self) -> Option<Picture> {
        match self {
            Self::Json | Self::Npy | Self::Npz => None,
            Self::Svg => Some(Picture::Svg),
            Self::Png => Some(Picture::Png),
        }
    }

    /// The format that `headers` ask for; JSON when they ask for nothing.
    ///
    /// Between equal qualities the more specific range wins, then [`Self::ALL`]'s order.
    ///
    /// # Errors
    /// [`ApiError::NotAcceptable`] when `Accept` allows none.
    pub fn negotiate(headers: &HeaderMap) -> Result<Self, ApiError> {
        let values: Vec<&str> = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let ranges: Vec<Range> = values.iter().flat_map(|value| value.split(',')).filter_map(Range::parse).collect();
        if ranges.is_empty() {
            return Ok(Self::Json);
        }
        let mut best: Option<(u16, u8, Self)> = None;
        for format in Self::ALL {
            let matching = ranges.iter().filter(|range| range.matches(format.media_type()));
            let Some(range) = matching.max_by_key(|range| range.specificity) else { continue };
            let rank = (range.quality, range.specificity);
            if range.quality > 0 && best.is_none_or(|(quality, specificity, _)| rank > (quality, specificity)) {
                best = Some((range.quality, range.specificity, format));
            }
        }
        best.map(|(_, _, format)| format).ok_or_else(|| {
            let all = Self::ALL.map(|format| format!("`{}`", format.media_type())).join(", ");
            ApiError::NotAcceptable(format!("`Accept: {}` allows none of {all}", excerpt(&values.join(", "))))
        })
    }
}

/// One element of an `Accept` header.
struct Range<'a> {
    media_type: &'a str,
    /// 0 for `*/*`, 1 for `type/*`, 2 for `type/subtype`.
    specificity: u8,
    /// In thousandths, as RFC 9110 allows three decimals.
    quality: u16,
}

impl<'a> Range<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let media_type = parts.next().filter(|name| name.contains('/'))?;
        let quality = parts
            .filter_map(|parameter| parameter.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1000), |(_, value)| quality(value.trim()))?;
        let specificity = match media_type.split_once('/') {
            Some(("*", _)) => 0,
            Some((_, "*")) => 1,
            _ => 2,
        };
        Some(Self { media_type, specificity, quality })
    }

    fn matches(&self, media_type: &str) -> bool {
        match self.specificity {
            0 => true,
            1 => {
                let kind = |text: &str| text.split('/').next().map(str::to_ascii_lowercase);
                kind(self.media_type) == kind(media_type)
            }
            _ => self.media_type.eq_ignore_ascii_case(media_type),
        }
    }
}

fn quality(text: &str) -> Option<u16> {
    let value: f32 = text.parse().ok()?;
    // The cast is exact: the value is within 0 to 1000.
    (0.0..=1.0).contains(&value).then(|| (value * 1000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_chooses_the_format() {
        for (accept, expected) in [
            (None, Some(Format::Json)),
            (Some("*/*"), Some(Format::Json)),
            (Some("application/*"), Some(Format::Json)),
            (Some("application/json"), Some(Format::Json)),
            (Some("Application/X-NPY"), Some(Format::Npy)),
            (Some("application/x-npz, application/problem+json"), Some(Format::Npz)),
            (Some("application/json;q=0.5, application/x-npy"), Some(Format::Npy)),
            (Some("application/x-npy;q=0.2, application/json;q=0.1, */*;q=0"), Some(Format::Npy)),
            (Some("application/x-npy, */*"), Some(Format::Npy)),
            (Some("text/html, */*;q=0.8"), Some(Format::Json)),
            (Some("application/json;q=0, */*"), Some(Format::Npy)),
            (Some("application/json;q=0"), None),
            (Some("text/html"), None),
            (Some("application/zip"), None),
            (Some("image/*"), Some(Format::Svg)),
            (Some("image/png, image/*;q=0.5"), Some(Format::Png)),
            (Some("image/svg+xml, */*"), Some(Format::Svg)),
            (Some("image/jpeg"), None),
            (Some(""), Some(Format::Json)),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(accept) = accept {
                headers.insert(header::ACCEPT, accept.parse().expect("the test's header is valid"));
            }
            assert_eq!(Format::negotiate(&headers).ok(), expected, "{accept:?}");
        }
    }

    #[test]
    fn several_headers_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(header::ACCEPT, "text/html".parse().expect("valid"));
        headers.append(header::ACCEPT, "application/x-npz".parse().expect("valid"));
        assert_eq!(Format::negotiate(&headers).ok(), Some(Format::Npz));
    }
}
