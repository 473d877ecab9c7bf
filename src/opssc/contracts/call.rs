//! How a transaction's arguments become the call of a function, as the original's contract API does it.
//!
//! The first argument is the function's name, perhaps with the contract's in front (`contract:function`) and perhaps
//! beginning with a small letter; each other argument is one parameter, structures as JSON. Arguments that are too many
//! are ignored.
//!
//! Source: fabric-contract-api-go v1.2.0 (behaviour).

use bytes::Bytes;

use super::json::{Json, parse, text_of};
use super::refusal::Refusal;
use super::shape::{Object, Shape};

/// What the original's contracts are both called.
const CONTRACT: &str = "SmartContract";

/// The call of a function.
pub(super) struct Call {
    /// As it came, for errors.
    asked: String,
    function: String,
    parameters: Vec<Bytes>,
}

impl Call {
    /// Reads the arguments of a transaction.
    pub(super) fn read(args: &[Bytes]) -> Result<Self, Refusal> {
        let (name, parameters) =
            args.split_first().map_or((String::new(), &[][..]), |(name, rest)| (text_of(name), rest));
        let (contract, asked) = name.rsplit_once(':').unwrap_or((CONTRACT, &name));
        if contract != CONTRACT {
            return Err(Refusal(format!("Contract not found with name {contract}")));
        }
        let mut letters = asked.chars();
        let Some(first) = letters.next() else {
            return Err(Refusal::new("Blank function name passed"));
        };
        let function = format!("{}{}", first.to_ascii_uppercase(), letters.as_str());
        Ok(Self { asked: asked.to_owned(), function, parameters: parameters.to_vec() })
    }

    /// The function, beginning with a capital.
    pub(super) fn function(&self) -> &str {
        &self.function
    }

    /// That the contract has no such function.
    pub(super) fn unknown(&self) -> Refusal {
        Refusal(format!("Function {} not found in contract {CONTRACT}", self.asked))
    }

    /// As many parameters as the function takes.
    pub(super) fn parameters<const N: usize>(&self) -> Result<[Parameter<'_>; N], Refusal> {
        let received = self.parameters.len();
        if received < N {
            return Err(Refusal(format!("Incorrect number of params. Expected {N}, received {received}")));
        }
        Ok(std::array::from_fn(|index| Parameter { index, bytes: &self.parameters[index] }))
    }
}

/// One parameter, not yet of a type.
#[derive(Clone, Copy)]
pub(super) struct Parameter<'a> {
    index: usize,
    bytes: &'a Bytes,
}

impl Parameter<'_> {
    fn refuse(self, words: &str) -> Refusal {
        Refusal(format!("Error managing parameter param{}. {words}", self.index))
    }

    /// A text, for all but keys: what is no UTF-8 in it is replaced, as it would be once it is written as JSON.
    pub(super) fn text(self) -> String {
        text_of(self.bytes)
    }

    /// A text for a key, which must be UTF-8. The error comes where the original makes the key.
    pub(super) fn key(self) -> Result<String, Refusal> {
        match std::str::from_utf8(self.bytes) {
            Ok(text) => Ok(text.to_owned()),
            Err(_) => Err(Refusal(format!("not a valid utf8 string: [{}]", crate::fabric::names::hex(self.bytes)))),
        }
    }

    /// A whole number; nothing is 0.
    pub(super) fn integer(self) -> Result<i64, Refusal> {
        let text = self.text();
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().map_err(|_| self.refuse(&format!("Conversion error. Cannot convert passed value {text} to int")))
    }

    /// A structure.
    pub(super) fn object(self, shape: &'static Shape) -> Result<Object, Refusal> {
        shape.read(self.bytes).map_err(|words| self.refuse(&words))
    }

    /// A list of texts.
    pub(super) fn texts(self) -> Result<Vec<String>, Refusal> {
        let mistaken = || {
            let shown = self.text();
            self.refuse(&format!("Conversion error. Value {shown} was not passed in expected format []string"))
        };
        match parse(self.bytes).map_err(|_| mistaken())? {
            Json::List(items) => items
                .into_iter()
                .map(|item| match item {
                    Json::Text(text) => Ok(text),
                    Json::Null => Ok(String::new()),
                    _ => Err(mistaken()),
                })
                .collect(),
            Json::Null => {
                let words = format!(
                    "Value did not match schema:\n1. param{}: Invalid type. Expected: array, given: null",
                    self.index
                );
                Err(self.refuse(&words))
            }
            _ => Err(mistaken()),
        }
    }
}
