//! From the body of a call to the text of its answer, whatever happens in between.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use tracing::{debug, error};

use super::fault::{FaultCode, not_a_call};
use super::methods::Caller;
use crate::service::feedback::Receipt;
use crate::xmlrpc::charset::decode_text;
use crate::xmlrpc::decode::{Limits, decode_call};
use crate::xmlrpc::encode::{encode_fault, encode_response};
use crate::xmlrpc::error::DecodeError;
use crate::xmlrpc::value::{Fault, Value};

/// The answer to a call.
#[derive(Debug)]
pub(super) struct Answer {
    /// A `methodResponse`, with a value or a fault.
    pub(super) xml: String,
    /// To be confirmed once all of it has left.
    pub(super) receipt: Option<Receipt>,
}

/// Makes the call that a body holds.
pub(super) async fn answer(caller: Caller<'_>, body: &[u8], charset: Option<&str>) -> Answer {
    match caught(execute(&caller, body, charset)).await {
        Ok(value) => Answer { xml: encode_response(&value), receipt: caller.into_receipt() },
        Err(fault) => Answer { xml: encode_fault(&fault), receipt: None },
    }
}

/// The answer to a call that a defect of this program, or its end, cut short.
pub(super) fn unfinished(cause: &(dyn Any + Send)) -> Answer {
    Answer { xml: encode_fault(&crashed(cause)), receipt: None }
}

/// Turns a panic into a fault.
async fn caught(call: impl Future<Output = Result<Value<'static>, Fault>>) -> Result<Value<'static>, Fault> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|panic| Err(crashed(panic.as_ref())))
}

fn crashed(panic: &(dyn Any + Send)) -> Fault {
    let words = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    error!(panic = words.unwrap_or("without words"), "a call was cut short by a defect: please report it");
    FaultCode::NotSent.fault("The call was cut short by a defect in apnsd; its log says more.")
}

async fn execute(caller: &Caller<'_>, body: &[u8], charset: Option<&str>) -> Result<Value<'static>, Fault> {
    let refused = |error: DecodeError| {
        // Its words quote the body, which may hold tokens, and line breaks.
        debug!(place = error.place.map(tracing::field::display), "a body is not a call");
        caller.count_no_call();
        not_a_call(&error)
    };
    let text = decode_text(body, charset).map_err(refused)?;
    let call = decode_call(&text, &Limits { depth: caller.settings().depth_max }).map_err(refused)?;
    caller.call(&call.name, &call.params).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_in_a_method_is_a_fault() {
        for fault in [
            caught(async { panic!("words") }).await.unwrap_err(),
            caught(async { panic!("formatted {}", 1) }).await.unwrap_err(),
        ] {
            assert_eq!(fault.code, 500);
            assert_eq!(fault.text, "The call was cut short by a defect in apnsd; its log says more.");
        }
    }
}
