//! `impresario mock-provider`: the Messages API on loopback, until it is told to end.

use std::fs;

use agent_sim::mock::{MockProvider, Scenario};
use agent_sim::scenario as simulated;

use crate::args;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::signals::Signals;

/// Serves until Ctrl-C or SIGTERM.
pub(crate) async fn run(args: &args::MockProvider) -> Result<Exit, Failure> {
    let scenario = match &args.scenario {
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| format!("scenario {}: {error}", path.display()))?;
            Scenario::from_toml(&text)
                .map_err(|error| format!("scenario {}: {error}", path.display()))?
        }
        None => Scenario::default(),
    };
    let mut signals = Signals::new()?;
    let mock = match &args.simulated {
        Some(path) => {
            let simulated = simulated::Scenario::load(path, &[])?;
            MockProvider::start_scripted(args.listen, &simulated, simulated.run.seed).await?
        }
        None => MockProvider::start(args.listen, scenario, args.ledger.clone()).await?,
    };
    output::result(&format!("listening on {}", mock.url()))?;
    signals.end().await;
    mock.shutdown().await.map_err(|error| match &args.ledger {
        Some(path) => format!("the ledger {} cannot be made durable: {error}", path.display()),
        None => error.to_string(),
    })?;
    Ok(Exit::Done)
}
