//! Changes JSON as JSON: most changes of its bytes only make it none. Shared by the targets that read JSON.
//!
//! Invariant: the same bytes and the same seed are changed in the same way, as libFuzzer asks.

use serde_json::{Number, Value, json};

/// Values at the edges of what the shapes take.
fn edges() -> [Value; 24] {
    [
        json!(null),
        json!(true),
        json!(0),
        json!(1),
        json!(-1),
        json!(0.5),
        json!(100),
        json!(1e-9),
        json!(1e40),
        json!(1.7e308),
        json!(u64::MAX),
        json!(1_u64 << 53),
        json!(""),
        json!("a"),
        json!("0s"),
        json!("0.000000001s"),
        json!("8784h"),
        json!("1.000000007h"),
        json!("forever"),
        json!("9007199254740991B"),
        json!("0.1KB"),
        json!([]),
        json!({}),
        json!("é\u{0}\r\n"),
    ]
}

/// Changes one value somewhere in it; what is no JSON, and now and then what is, is left to libFuzzer.
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, seed: u32) -> usize {
    let mut random = Random(u64::from(seed).wrapping_add(1));
    let parsed = if random.below(5) == 0 { None } else { serde_json::from_slice::<Value>(&data[..size]).ok() };
    let changed = parsed.and_then(|mut value| {
        for _ in 0..=random.below(2) {
            let all = count(&value);
            let donor = at(&mut value, random.below(all)).map(|value| value.clone());
            change(at(&mut value, random.below(all))?, donor, &mut random);
        }
        serde_json::to_vec(&value).ok()
    });
    match changed.filter(|bytes| bytes.len() <= max_size && !bytes.is_empty()) {
        Some(bytes) => {
            data[..bytes.len()].copy_from_slice(&bytes);
            bytes.len()
        }
        None => libfuzzer_sys::fuzzer_mutate(data, size, max_size),
    }
}

fn change(value: &mut Value, donor: Option<Value>, random: &mut Random) {
    let edges = edges();
    match (random.below(4), value) {
        (0, value) => *value = donor.unwrap_or_default(),
        (1, Value::Object(fields)) if !fields.is_empty() => {
            let key = fields.keys().nth(random.below(fields.len())).cloned().unwrap_or_default();
            fields.remove(&key);
        }
        (1, Value::String(text)) => {
            let mut bytes = std::mem::take(text).into_bytes();
            let (length, room) = (bytes.len(), bytes.len() + 8);
            bytes.resize(room, 0);
            let length = libfuzzer_sys::fuzzer_mutate(&mut bytes, length, room);
            *text = String::from_utf8_lossy(&bytes[..length]).into_owned();
        }
        (1, Value::Number(number)) => {
            let bits = number.as_f64().unwrap_or_default().to_bits() ^ (1 << random.below(64));
            *number = Number::from_f64(f64::from_bits(bits)).unwrap_or_else(|| Number::from(random.0));
        }
        (_, value) => *value = edges[random.below(edges.len())].clone(),
    }
}

/// Values in it, itself among them.
fn count(value: &Value) -> usize {
    1 + match value {
        Value::Object(fields) => fields.values().map(count).sum(),
        Value::Array(list) => list.iter().map(count).sum(),
        _ => 0,
    }
}

fn at(value: &mut Value, mut index: usize) -> Option<&mut Value> {
    if index == 0 {
        return Some(value);
    }
    index -= 1;
    let inner: Vec<&mut Value> = match value {
        Value::Object(fields) => fields.values_mut().collect(),
        Value::Array(list) => list.iter_mut().collect(),
        _ => Vec::new(),
    };
    for one in inner {
        let size = count(one);
        if index < size {
            return at(one, index);
        }
        index -= size;
    }
    None
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}
