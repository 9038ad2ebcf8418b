//! Owns how an event is written for a webhook: the Standard Webhooks headers and their signature.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde_json::json;
use sha2::Sha256;

use super::{Part, Request, content};
use crate::base::clock::Timestamp;
use crate::base::settings::sinks::{SinkSettings, secret_bytes};
use crate::domain::event::Event;
use crate::domain::sink::letter;

/// An endpoint with the keys that sign.
pub struct Webhook {
    url: String,
    keys: Vec<Vec<u8>>,
    headers: Vec<(String, String)>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").field("key_count", &self.keys.len()).finish_non_exhaustive()
    }
}

impl Webhook {
    /// The webhook of these settings.
    pub fn of(settings: &SinkSettings) -> Webhook {
        let key = |secret: &crate::base::settings::sinks::Secret| secret_bytes(secret.reveal());
        Webhook {
            url: settings.address.reveal().to_owned(),
            keys: settings.secrets.iter().filter_map(key).collect(),
            headers: plain_headers(settings),
        }
    }

    /// The request that tells of an event. The same event has the same id in every try; the instant is that of the try.
    pub fn request(&self, event: &Event, now: Timestamp) -> Request {
        let id = format!("evt_{}", event.cursor);
        let timestamp = (now.0 / 1_000_000).to_string();
        let data = letter(event);
        let body = json!({"type": data["type"], "timestamp": data["at"], "data": data}).to_string();
        let mut headers = vec![
            ("content-type".to_owned(), "application/json".to_owned()),
            ("webhook-signature".to_owned(), self.signatures(&id, &timestamp, &body)),
            ("webhook-id".to_owned(), id),
            ("webhook-timestamp".to_owned(), timestamp),
        ];
        headers.extend(self.headers.clone());
        Request {
            part: Part::Whole,
            url: self.url.clone(),
            headers,
            body: body.into_bytes(),
            count: 1,
            complaint: content,
        }
    }

    /// One signature for each key: a receiver that knows one of them is content.
    fn signatures(&self, id: &str, timestamp: &str, body: &str) -> String {
        let sign = |key: &Vec<u8>| {
            let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length is good");
            for part in [id, ".", timestamp, ".", body] {
                mac.update(part.as_bytes());
            }
            format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
        };
        self.keys.iter().map(sign).collect::<Vec<_>>().join(" ")
    }
}

/// The operator's own headers.
pub(super) fn plain_headers(settings: &SinkSettings) -> Vec<(String, String)> {
    settings.headers.iter().map(|(name, value)| (name.clone(), value.reveal().to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_specification() {
        // The example of the Standard Webhooks specification's own libraries.
        let key = secret_bytes("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let webhook = Webhook { url: String::new(), keys: vec![key.clone(), key], headers: Vec::new() };
        let signed =
            webhook.signatures("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330", r#"{"test": 2432232314}"#);
        let one = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signed, format!("{one} {one}"));
    }
}
