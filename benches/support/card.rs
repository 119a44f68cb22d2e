//! Card texts, unsigned, in the member order and without white space as SDKs serve them.

/// A 1.0 card of exactly `size` bytes whose first three profiles coincide: nothing in it is empty.
pub(crate) fn current(size: usize) -> String {
    let tail = r#""supportedInterfaces":[{"url":"https://planner.travel.svc.cluster.local:8443/a2a","protocolBinding":"JSONRPC","protocolVersion":"1.0"}],"provider":{"organization":"Example Travel","url":"https://example.org"},"version":"1.4.2","capabilities":{"streaming":true,"pushNotifications":false},"securitySchemes":{"mesh":{"mtlsSecurityScheme":{"description":"SVID of the mesh"}}},"defaultInputModes":["text/plain"],"defaultOutputModes":["application/json"]"#;
    padded("Plans journeys. ", tail, size)
}

/// A 0.3 card of exactly `size` bytes that has another form under each of the seven profiles: it holds an empty
/// member, a non-ASCII letter, and a member that kagenti does not know.
pub(crate) fn legacy(size: usize) -> String {
    let tail = r#""url":"https://planner.travel.svc.cluster.local:8443/a2a","preferredTransport":"JSONRPC","protocolVersion":"0.3.0","provider":{"organization":"Example Travel","url":"https://example.org"},"version":"1.4.2","iconUrl":"","capabilities":{"streaming":true,"pushNotifications":false,"stateTransitionHistory":false},"defaultInputModes":["text/plain"],"defaultOutputModes":["application/json"]"#;
    padded("Plans journées. ", tail, size)
}

/// A card of exactly `size` bytes with about as many values and members as the limits allow.
pub(crate) fn dense(size: usize) -> String {
    let members: Vec<_> = (0..810).map(|member| format!(r#""{member:x}":1"#)).collect();
    let members = members.join(",");
    let groups: Vec<_> = (0..24).map(|group| format!(r#""{group:x}":{{{members}}}"#)).collect();
    let params = format!("{{{}}}", groups.join(","));
    let tail = format!(
        r#""url":"https://planner.travel.svc.cluster.local:8443/a2a","version":"1.4.2","iconUrl":"","capabilities":{{"stateTransitionHistory":false,"extensions":[{{"uri":"https://example.org/dense","params":{params}}}]}},"defaultInputModes":["text/plain"],"defaultOutputModes":["application/json"]"#
    );
    filled("Plans journées. ", &tail, &prose, size)
}

/// A card of exactly `size` bytes, most of them `<`, which Go's JSON spells with six bytes.
pub(crate) fn swelling(size: usize) -> String {
    let tail = r#""url":"https://planner.travel.svc.cluster.local:8443/a2a","version":"1.4.2","iconUrl":"","capabilities":{"stateTransitionHistory":false},"defaultInputModes":["text/plain"],"defaultOutputModes":["application/json"]"#;
    filled("Plans journées. ", tail, &|length| "<".repeat(length), size)
}

/// Skills as long as they fit, then a description of the length that is missing.
fn padded(description: &str, tail: &str, size: usize) -> String {
    let mut skills = String::new();
    for index in 0.. {
        let skill = skill(index);
        if description.len() + tail.len() + skills.len() + skill.len() + 80 > size {
            break;
        }
        if index > 0 {
            skills.push(',');
        }
        skills.push_str(&skill);
    }
    if skills.is_empty() {
        skills.push_str(r#"{"id":"plan","name":"Plan","description":"Plans.","tags":["travel"]}"#);
    }
    let tail = format!(r#"{tail},"skills":[{skills}]"#);
    let rest = size.checked_sub(card(description, &tail).len()).expect("room for a description");
    card(&format!("{description}{}", prose(rest)), &tail)
}

/// Skills with long texts until the size is reached: few values, many bytes.
fn filled(description: &str, tail: &str, text: &dyn Fn(usize) -> String, size: usize) -> String {
    const LONGEST: usize = 60_000;
    let mut skills = Vec::new();
    loop {
        let tail = format!(r#"{tail},"skills":[{}]"#, skills.join(","));
        let rest = size.checked_sub(card(description, &tail).len()).expect("room for a description");
        if rest < LONGEST {
            return card(&format!("{description}{}", prose(rest)), &tail);
        }
        let length = LONGEST.min(rest) - 200;
        skills.push(format!(
            r#"{{"id":"skill-{}","name":"Leg","description":"{}","tags":["travel"]}}"#,
            skills.len(),
            text(length)
        ));
    }
}

fn card(description: &str, tail: &str) -> String {
    format!(r#"{{"name":"Journey planner","description":"{description}",{tail}}}"#)
}

fn skill(index: usize) -> String {
    format!(
        r#"{{"id":"plan-leg-{index}","name":"Plan leg {index} of a journey","description":"Finds connections for one leg of a journey, compares price, duration and emissions, and explains the choice in two sentences that can be shown to the traveller as they are.","tags":["travel","planning","timetable"],"examples":["From Lisbon to Porto on Friday after five","The cheapest night train to Vienna next week"],"inputModes":["text/plain"],"outputModes":["application/json","text/plain"]}}"#
    )
}

fn prose(length: usize) -> String {
    "It asks for dates and places, and answers with connections. ".chars().cycle().take(length).collect()
}
