//! The methods that callers can call: one file each, and the table that dispatch and introspection read.

mod apps;
mod configure;
mod feedback;
mod lists;
mod log;
mod notify;
mod provision;
mod send;
mod steer;
mod system;
mod trace;
mod validate;

use std::future::Future;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use tracing::{Instrument, debug, debug_span};

use super::Settings;
use super::arguments::app_id;
use super::fault::{BAD_REQUEST, OUTCOMES, bad_argument, outcome, unknown_method};
use crate::domain::app::AppId;
use crate::listener::user::User;
use crate::service::about::About;
use crate::service::feedback::Receipt;
use crate::service::send::Patience;
use crate::service::{App, PushService};
use crate::telemetry::metrics::calls::Calls;
use crate::xmlrpc::value::{Fault, Value};

/// A method: all that dispatch and introspection know of it.
pub(super) struct Method {
    /// As callers write it.
    name: &'static str,
    /// Each way to call it: the type of the answer, then those of the arguments.
    signatures: &'static [&'static [&'static str]],
    /// What it does, for callers.
    help: &'static str,
    /// Gets as many arguments as one of the signatures has.
    run: Run,
}

type Run = for<'a> fn(&'a Caller<'a>, &'a [Value<'a>]) -> Answer<'a>;
type Answer<'a> = Pin<Box<dyn Future<Output = Result<Value<'static>, Fault>> + Send + 'a>>;

/// All methods, in the order of `system.listMethods`.
static METHODS: [&Method; 21] = [
    &configure::CONFIGURE,
    &provision::PROVISION,
    &notify::NOTIFY,
    &feedback::FEEDBACK,
    &send::SEND,
    &validate::VALIDATE,
    &lists::REJECTIONS,
    &lists::FEEDBACK,
    &apps::APPS,
    &apps::STATUS,
    &trace::TRACE,
    &steer::DEPROVISION,
    &steer::PAUSE,
    &steer::RESUME,
    &steer::PURGE,
    &log::LOG,
    &system::LIST_METHODS,
    &system::METHOD_HELP,
    &system::METHOD_SIGNATURE,
    &system::MULTICALL,
    &system::CAPABILITIES,
];

/// What a call of a method that does not exist is counted as.
const UNKNOWN: &str = "unknown";
/// What a body that is no call is counted as.
const NO_CALL: &str = "none";

/// Counts of calls, none yet.
pub(super) fn calls() -> Calls {
    Calls::new(METHODS.iter().map(|method| method.name).chain([NO_CALL, UNKNOWN]), &OUTCOMES)
}

/// What stands before the dot in names of methods.
const PREFIXES: [&str; 2] = ["apnsd", "system"];

/// What the methods of one request work with.
pub(super) struct Caller<'a> {
    service: &'a PushService,
    settings: &'a Settings,
    about: &'a About,
    /// Who calls, where the daemon has users.
    user: Option<&'a User>,
    calls: &'a Calls,
    /// How long all its calls may wait for outcomes.
    patience: Patience,
    /// Confirms the feedback in the answer once that has left.
    handed_out: Mutex<Option<Receipt>>,
}

impl<'a> Caller<'a> {
    pub(super) fn new(
        service: &'a PushService,
        settings: &'a Settings,
        about: &'a About,
        user: Option<&'a User>,
        calls: &'a Calls,
    ) -> Self {
        Self { service, settings, about, user, calls, patience: Patience::default(), handed_out: Mutex::default() }
    }

    /// Limits of calls.
    pub(super) const fn settings(&self) -> &'a Settings {
        self.settings
    }

    /// What is to be confirmed once the answer has left.
    pub(super) fn into_receipt(self) -> Option<Receipt> {
        self.handed_out.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls a method, and counts that.
    pub(super) async fn call(&self, name: &str, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
        let (word, answer) = match find(name) {
            Ok(method) => (method.name, self.run(method, params).await),
            Err(fault) => (UNKNOWN, Err(fault)),
        };
        self.calls.add(word, outcome(&answer));
        answer
    }

    /// Counts a body that is no call.
    pub(super) fn count_no_call(&self) {
        self.calls.add(NO_CALL, BAD_REQUEST);
    }

    /// The life of the span is the duration of the call.
    async fn run(&self, method: &'static Method, params: &[Value<'_>]) -> Result<Value<'static>, Fault> {
        let app = app_of(method.name, params);
        let user = self.user.map(|user| user.name.as_str());
        let app = app.as_deref();
        // The app is a field of the event, not of the span: only so it can have a level of its own.
        let span = debug_span!("call", user);
        async {
            let permitted = self.permit_method(method.name).and_then(|()| self.permit_app(app));
            let answer = match permitted.and_then(|()| method.check_count(params.len())) {
                Ok(()) => (method.run)(self, params).await,
                Err(fault) => Err(fault),
            };
            match &answer {
                Ok(_) => debug!(app = app.map(display), method = method.name, outcome = "ok", "answered"),
                Err(fault) => debug!(
                    app = app.map(display),
                    method = method.name,
                    outcome = "fault",
                    code = fault.code,
                    "answered"
                ),
            }
            answer
        }
        .instrument(span)
        .await
    }

    fn permit_method(&self, method: &str) -> Result<(), Fault> {
        let refuse = |user: &User| {
            let name = &user.name;
            bad_argument(format!(
                "user `{name}` may not call {method}: add it to `methods` of the user's [[user]] section"
            ))
        };
        self.user.filter(|user| !user.may_call(method)).map_or(Ok(()), |user| Err(refuse(user)))
    }

    /// Refuses an app that the user may not use, in the same words whether it is there or not.
    fn permit_app(&self, app: Option<&str>) -> Result<(), Fault> {
        match (self.user, app) {
            (Some(user), Some(app)) if !user.may_use(app) => {
                let name = &user.name;
                Err(bad_argument(format!(
                    "user `{name}` may not use the app `{app}`: add it to `apps` of the user's [[user]] section"
                )))
            }
            (Some(_) | None, _) => Ok(()),
        }
    }

    /// Whether an app may be shown to who calls.
    fn may_see(&self, app: Option<&str>) -> bool {
        self.user.is_none_or(|user| app.map_or(user.apps.is_none(), |app| user.may_use(app)))
    }

    /// The app that an argument names.
    fn app(&self, argument: &Value<'_>) -> Result<App, Fault> {
        Ok(self.service.app(&app_id(argument)?)?)
    }
}

/// Whether there is a method of this name.
pub(super) fn is_method(name: &str) -> bool {
    find(name).is_ok()
}

/// Finds a method by its name.
fn find(name: &str) -> Result<&'static Method, Fault> {
    METHODS.iter().copied().find(|method| method.name == name).ok_or_else(|| unknown_method(name, &PREFIXES))
}

impl Method {
    fn check_count(&self, given: usize) -> Result<(), Fault> {
        let counts = || self.signatures.iter().map(|types| types.len() - 1);
        let (min, max) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
        if (min..=max).contains(&given) {
            return Ok(());
        }
        let takes = match (min, max) {
            (0, 0) => "no arguments".to_owned(),
            (1, 1) => "1 argument".to_owned(),
            (min, max) if min == max => format!("{max} arguments"),
            (min, max) if min + 1 == max => format!("{min} or {max} arguments"),
            (min, max) => format!("{min} to {max} arguments"),
        };
        Err(bad_argument(format!("{} takes {takes}, {given} given", self.name)))
    }
}

/// The app id of a call, for the log.
fn app_of(name: &str, params: &[Value<'_>]) -> Option<String> {
    // What `apnsd.trace` begins with is part of a token.
    let first = params.first().filter(|_| !name.starts_with("system.") && name != "apnsd.trace")?;
    app_id(first).ok().filter(|text| AppId::parse(text).is_ok()).map(Into::into)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_is_described_and_found() {
        for method in METHODS {
            assert!(std::ptr::eq(find(method.name).unwrap(), method), "{}", method.name);
            assert!(!method.help.is_empty() && !method.signatures.is_empty(), "{}", method.name);
            assert!(method.signatures.iter().all(|types| !types.is_empty()), "{}", method.name);
            let prefix = method.name.split_once('.').map(|(prefix, _)| prefix);
            assert!(prefix.is_none_or(|prefix| PREFIXES.contains(&prefix)), "{}", method.name);
        }
    }

    #[test]
    fn a_wrong_number_of_arguments_is_told() {
        let told = |name, given| find(name).unwrap().check_count(given).unwrap_err().text;
        assert_eq!(told("notify", 2), "notify takes 3 or 4 arguments, 2 given");
        assert_eq!(told("provision", 6), "provision takes 3 to 5 arguments, 6 given");
        assert_eq!(told("apnsd.status", 2), "apnsd.status takes 0 or 1 arguments, 2 given");
        assert_eq!(told("apnsd.pause", 0), "apnsd.pause takes 1 argument, 0 given");
        assert_eq!(told("apnsd.apps", 1), "apnsd.apps takes no arguments, 1 given");
        assert_eq!(told("apnsd.rejections", 3), "apnsd.rejections takes 1 or 2 arguments, 3 given");
        assert!(find("notify").unwrap().check_count(4).is_ok());
    }

    #[test]
    fn only_methods_of_apps_are_logged_with_one() {
        assert_eq!(app_of("notify", &[Value::Int(7)]).as_deref(), Some("7"));
        assert_eq!(app_of("system.methodHelp", &[Value::string("notify")]), None);
        assert_eq!(app_of("notify", &[Value::string("a\nb")]), None);
        assert_eq!(app_of("apnsd.apps", &[]), None);
        assert_eq!(app_of("apnsd.trace", &[Value::string("0badcafe")]), None);
    }
}
