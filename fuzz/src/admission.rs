//! Admission policies of the API server, evaluated by another implementation of CEL than the API server's own.

use cel::{Context, Env, Program, Value as Cel, extensions};
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// Namespace of the Pods.
pub const NAMESPACE: &str = "sidecars";

/// Policy of one file.
pub struct Guard {
    env: Arc<Env>,
    conditions: Vec<Program>,
    variables: Vec<(String, Program)>,
    validations: Vec<(Program, String)>,
}

impl Guard {
    /// Reads the policy of a file of `policies/`, with these expressions in place of those of its variables. Nobody may
    /// `override` it: that asks the API server's authorizer.
    pub fn of(file: &str, parameters: &[(&str, &str)]) -> Self {
        let mut env = Env::stdlib();
        env.add_extension(extensions::strings).expect("an extension");
        let env = Arc::new(env);
        let objects: Vec<Value> = serde_saphyr::from_multiple(file).expect("YAML");
        let spec = &objects[0]["spec"];
        let text = |value: &Value| value.as_str().expect("a text").to_owned();
        let compile = |text: &str| env.compile(text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
        let expression = |item: &Value| compile(&text(&item["expression"]));
        let list = |name: &str| spec[name].as_array().into_iter().flatten();
        let parameters = [parameters, &[("override", "false")]].concat();
        let variables = list("variables").map(|variable| {
            let name = text(&variable["name"]);
            let given = parameters.iter().find(|(parameter, _)| *parameter == name);
            (name, given.map_or_else(|| expression(variable), |(_, given)| compile(given)))
        });
        Self {
            conditions: list("matchConditions").map(expression).collect(),
            variables: variables.collect(),
            validations: list("validations").map(|one| (expression(one), text(&one["message"]))).collect(),
            env: env.clone(),
        }
    }

    /// What is said to whoever creates a Pod in a namespace whose agents have sidecars, if it is refused.
    ///
    /// # Panics
    /// An expression fails. The API server refuses then too, with a sentence that nobody understands.
    pub fn refuses(&self, pod: &Value) -> Option<&str> {
        let mut context = Context::with_env(self.env.clone());
        let namespace = json!({ "metadata": { "name": NAMESPACE, "labels": { "kagenti-enabled": "true" } } });
        let request = json!({ "operation": "CREATE", "namespace": NAMESPACE });
        for (name, value) in [
            ("object", pod),
            ("oldObject", &Value::Null),
            ("namespaceObject", &namespace),
            ("request", &request),
        ] {
            context.add_variable(name, value).expect("JSON");
        }
        if !self.conditions.iter().all(|condition| is_true(condition, &context)) {
            return None;
        }
        let mut variables = Map::new();
        for (name, program) in &self.variables {
            let value = program.execute(&context).unwrap_or_else(|error| panic!("{name}: {error:?}"));
            variables.insert(name.clone(), value.json().expect("JSON"));
            context.add_variable("variables", &variables).expect("JSON");
        }
        let refused = self.validations.iter().find(|(program, _)| !is_true(program, &context));
        refused.map(|(_, message)| message.as_str())
    }
}

fn is_true(program: &Program, context: &Context<'_, '_>) -> bool {
    match program.execute(context) {
        Ok(Cel::Bool(answer)) => answer,
        other => panic!("no answer: {other:?}"),
    }
}
