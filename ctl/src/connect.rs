//! From what was typed to where things are: environments, agents, experiment files with their variables resolved.
//!
//! Neighbours: `squall_engine::environment` reads the files, `sandbox` stands in when none is named.

use crate::{
    cli::{AgentChoice, EnvironmentChoice},
    exit::Failure,
    sandbox::{self, Sandbox, Wanted},
};
use squall_engine::{
    agent_client::{AgentClient, AgentTarget},
    agent_tls::{AgentTls, TlsFileError},
    diagnostic::Diagnostics,
    environment::{self, Environment, ProxyEntry, ShopDatabase, ShopEntry},
    experiment::{Experiment, Secrets},
    load::{self, Inputs},
};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A file larger than this is no experiment; it is not read.
const LARGEST_FILE: u64 = 1 << 20;

/// Where experiments run.
pub enum Scene {
    /// The built-in one, which is started for each run.
    Sandbox(Wanted),
    /// One that is there.
    Environment(Box<Environment>),
}

impl Scene {
    /// What was chosen, for files beside `file`.
    pub fn choose(choice: &EnvironmentChoice, file: &Path) -> Result<Self, Failure> {
        let Some(name) = &choice.env else {
            return Ok(Self::Sandbox(Wanted { without: choice.without.clone(), database: needed_by(file) }));
        };
        let scene = Self::of(environment_named(name, file.parent())?);
        Ok(match scene {
            // What the environment says of the database counts before what the experiment needs.
            Self::Sandbox(wanted) if wanted.database == ShopDatabase::default() => {
                Self::Sandbox(Wanted { database: needed_by(file), ..wanted })
            }
            scene => scene,
        })
    }

    fn of(mut environment: Environment) -> Self {
        if environment.sandbox {
            let ShopEntry { without, database } = environment.shop;
            return Self::Sandbox(Wanted { without, database: database.unwrap_or_default() });
        }
        // The journal tells by the name whether an agent died with its run and needs no healing: only the built-in's
        // did.
        if environment.name == sandbox::NAME {
            environment.name = format!("environment {}", sandbox::NAME);
        }
        Self::Environment(Box::new(environment))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            Self::Sandbox(_) => sandbox::NAME,
            Self::Environment(environment) => &environment.name,
        }
    }

    /// Its variables, as far as they are known without starting anything.
    pub fn variables(&self) -> BTreeMap<String, String> {
        match self {
            Self::Sandbox(_) => Sandbox::variables_before_start(),
            Self::Environment(environment) => environment.variables.clone(),
        }
    }

    /// The agents that are there already; the sandbox's are not.
    pub fn targets(&self) -> Vec<AgentTarget> {
        match self {
            Self::Sandbox(_) => Vec::new(),
            Self::Environment(environment) => targets(environment),
        }
    }

    /// The proxies that the environment's agents must have.
    pub fn proxies(&self) -> Vec<ProxyEntry> {
        match self {
            Self::Sandbox(_) => Vec::new(),
            Self::Environment(environment) => environment.proxies.clone(),
        }
    }
}

/// The database that an experiment needs in the sandbox. A file that cannot be read is told when it is loaded.
fn needed_by(file: &Path) -> ShopDatabase {
    let text = read(file).unwrap_or_default();
    load::sandbox_database(&text).map(ShopDatabase::Own).unwrap_or_default()
}

/// Reads an experiment and resolves it by these variables; every mistake is in the failure. The environment's time
/// windows come to its own.
pub fn load(
    file: &Path,
    choice: &EnvironmentChoice,
    scene: &Scene,
    variables: &BTreeMap<String, String>,
) -> Result<Experiment, Failure> {
    load_text(file, &read(file)?, choice, scene, variables)
}

/// The same with another text in the file's place.
pub fn load_text(
    file: &Path,
    text: &str,
    choice: &EnvironmentChoice,
    scene: &Scene,
    variables: &BTreeMap<String, String>,
) -> Result<Experiment, Failure> {
    let set: BTreeMap<_, _> = choice.set.iter().cloned().collect();
    let path = file.display().to_string();
    let of_sandbox = match scene {
        Scene::Sandbox(wanted) => wanted.secrets(),
        Scene::Environment(_) => Secrets::default(),
    };
    let inputs = Inputs {
        path: &path,
        text,
        set: &set,
        environment: variables,
        secrets: match scene {
            Scene::Environment(environment) => &environment.secrets,
            Scene::Sandbox(_) => &of_sandbox,
        },
        env_var: &|name| std::env::var(name).ok(),
        base_dir: file.parent().unwrap_or(Path::new(".")),
    };
    let mut experiment = load::load(&inputs).map_err(|mistakes| invalid(&mistakes, text))?;
    if let Scene::Environment(environment) = scene {
        experiment.windows.extend(environment.windows.clone());
    }
    Ok(experiment)
}

/// The clients of every agent that is meant.
pub fn agents(choice: &AgentChoice) -> Result<Vec<AgentClient>, Failure> {
    let environment = choice.env.as_ref().map(|name| environment_named(name, None)).transpose()?;
    match (&choice.agent, environment) {
        (Some(url), None) if url.starts_with("http://") || url.starts_with("https://") => {
            let target = AgentTarget {
                name: url.clone(),
                url: url.clone(),
                token: None,
                tls: AgentTls::default(),
                labels: BTreeMap::new(),
            };
            Ok(vec![AgentClient::new(choice.over(target)?)?])
        }
        (Some(name), None) => Err(Failure::usage(format!(
            "`{name}` is no address: write --agent http://HOST:PORT, or name the environment that knows it by --env"
        ))),
        (None, None) => Err(Failure::usage("which agent? write --agent http://HOST:PORT, or --env NAME")),
        (Some(name), Some(environment)) => {
            let known: Vec<_> = environment.agents.keys().cloned().collect();
            let client = targets(&environment).into_iter().find(|target| target.name == *name || target.url == *name);
            let client = client.map(|target| Ok::<_, Failure>(AgentClient::new(choice.over(target)?)?)).transpose()?;
            client.map(|client| vec![client]).ok_or_else(|| {
                Failure::usage(format!(
                    "environment `{}` has no agent `{name}`; it has {}",
                    environment.name,
                    known.join(", ")
                ))
            })
        }
        (None, Some(environment)) => {
            let chosen = targets(&environment).into_iter();
            chosen.map(|target| Ok(AgentClient::new(choice.over(target)?)?)).collect()
        }
    }
}

impl AgentChoice {
    /// Lays what was typed over what the environment says of an agent.
    pub fn over(&self, mut target: AgentTarget) -> Result<AgentTarget, Failure> {
        let unusable = |error: TlsFileError| Failure::usage(error.to_string());
        if let Some(path) = &self.token_file {
            target.token = Some(token_in(path)?);
        }
        target.token = target.token.or_else(token_of_variable);
        if let Some(authority) = &self.ca {
            target.tls.trust(authority).map_err(unusable)?;
        }
        if let (Some(cert), Some(key)) = (&self.cert, &self.key) {
            target.tls.show(cert, key).map_err(unusable)?;
        }
        Ok(target)
    }
}

/// The token for agents of which nothing else is said.
pub fn token_of_variable() -> Option<Arc<str>> {
    let token = std::env::var(environment::TOKEN_VARIABLE).ok()?;
    Some(token.trim()).filter(|token| !token.is_empty()).map(Into::into)
}

/// The one word of a file. No message repeats what is in it.
fn token_in(path: &Path) -> Result<Arc<str>, Failure> {
    let text = read(path)?;
    let token = text.trim();
    if token.is_empty() || token.contains(|c: char| !c.is_ascii_graphic()) {
        return Err(Failure::usage(format!("{} is no token: it must be one word and nothing else", path.display())));
    }
    Ok(token.into())
}

/// The client of the one agent that is meant.
pub fn agent(choice: &AgentChoice) -> Result<AgentClient, Failure> {
    let mut clients = agents(choice)?;
    match clients.len() {
        1 => Ok(clients.remove(0)),
        _ => Err(Failure::usage("the environment has several agents: say which by --agent NAME")),
    }
}

/// The environment with this name or path.
pub fn environment_named(name: &str, beside: Option<&Path>) -> Result<Environment, Failure> {
    let path = environment_path(name, beside)?;
    let text = read(&path)?;
    let base = path.parent().unwrap_or(Path::new("."));
    environment::load(&path.display().to_string(), &text, &|name| std::env::var(name).ok(), base)
        .map_err(|mistakes| invalid(&mistakes, &text))
}

fn environment_path(name: &str, beside: Option<&Path>) -> Result<PathBuf, Failure> {
    if name.contains('/') || name.ends_with(".yaml") || name.ends_with(".yml") {
        return Ok(PathBuf::from(name));
    }
    let file = format!("environments/{name}.yaml");
    let places: Vec<PathBuf> = beside.map(|dir| dir.join(&file)).into_iter().chain([PathBuf::from(&file)]).collect();
    places.iter().find(|path| path.exists()).cloned().ok_or_else(|| {
        let places: Vec<_> = places.iter().map(|path| path.display().to_string()).collect();
        Failure::invalid(format!("there is no environment `{name}`: looked for {}", places.join(" and ")))
    })
}

/// Where the agents of an environment are, and what they ask for.
pub fn targets(environment: &Environment) -> Vec<AgentTarget> {
    let target = |(name, agent): (&String, &environment::AgentEntry)| AgentTarget {
        name: name.clone(),
        url: agent.url.clone(),
        token: agent.token.as_ref().map(|token| token.reveal().into()),
        tls: agent.tls.clone(),
        labels: agent.labels.clone(),
    };
    environment.agents.iter().map(target).collect()
}

/// Reads a text file of bounded size.
pub fn read(path: &Path) -> Result<String, Failure> {
    let shown = path.display();
    let failed = |e: std::io::Error| Failure::invalid(format!("failed to read {shown}: {e}"));
    let size = std::fs::metadata(path).map_err(failed)?.len();
    if size > LARGEST_FILE {
        return Err(Failure::invalid(format!("{shown} is too large: {size} bytes, at most {LARGEST_FILE}")));
    }
    let bytes = std::fs::read(path).map_err(failed)?;
    load::decode(&shown.to_string(), &bytes).map(str::to_owned).map_err(|mistakes| invalid(&mistakes, ""))
}

fn invalid(mistakes: &Diagnostics, source: &str) -> Failure {
    Failure::invalid_file(mistakes, source)
}

/// What this machine calls itself.
pub fn host_name() -> String {
    let name = rustix::system::uname();
    name.nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::{Scene, environment, sandbox};
    use std::path::Path;

    fn scene(text: &str) -> Scene {
        Scene::of(environment::load("sandbox.yaml", text, &|_| None, Path::new(".")).unwrap())
    }

    #[test]
    fn an_environment_is_never_taken_for_the_built_in_sandbox() {
        assert_ne!(scene("agents: {main: {url: 'http://127.0.0.1:1'}}").name(), sandbox::NAME);
        assert_eq!(scene("sandbox: true").name(), sandbox::NAME);
    }
}
