//! The explanation of one reason, from the list that the verifier uses.

use crate::args::Output;
use crate::exit::Unusable;
use crate::page::{Page, STRONG, styled};
use countersign_core::refusal::Reason;
use serde_json::json;

pub(super) fn write(reason: Reason, output: Output) -> Result<Vec<u8>, Unusable> {
    if output == Output::Json {
        let page = json!({
            "reason": reason.code(),
            "title": reason.title(),
            "rules": reason.rules(),
            "attack": reason.attack(),
            "fix": reason.fix(),
        });
        let mut text = serde_json::to_vec_pretty(&page).map_err(Unusable::new)?;
        text.push(b'\n');
        return Ok(text);
    }
    let rules: Vec<String> = reason.rules().iter().map(u8::to_string).collect();
    let mut page = Page::new();
    page.line(styled(STRONG, reason.code()));
    page.paragraph(2, &format!("{}.", reason.title()));
    page.gap();
    page.field("attack", reason.attack());
    page.field("fix", reason.fix());
    if let Some(first) = rules.first() {
        page.field("rules", &format!("{}; `countersign explain rule-{first}` prints one", rules.join(", ")));
    }
    Ok(page.into_bytes())
}
