//! The schema of the A2A 1.0 card: members and presence of `specification/a2a.proto` (package lf.a2a.v1).
//! `required` is `field_behavior` REQUIRED; `tracked` is proto3 `optional`, a sub-message or a oneof member.

use super::schema::{FLAG, Field, Message, Shape, TEXT, TEXT_MAP, TEXTS, plain, required, tracked};

const fn object(message: &'static Message) -> Shape {
    Shape::Object(message)
}

pub(super) static CARD: Message = Message {
    fields: &[
        required("capabilities", object(&CAPABILITIES)),
        required("defaultInputModes", TEXTS),
        required("defaultOutputModes", TEXTS),
        required("description", TEXT),
        tracked("documentationUrl", TEXT),
        tracked("iconUrl", TEXT),
        required("name", TEXT),
        tracked("provider", object(&PROVIDER)),
        plain("securityRequirements", SECURITY_REQUIREMENTS),
        plain("securitySchemes", Shape::Map(&object(&SECURITY_SCHEME))),
        required("skills", Shape::List(&object(&SKILL))),
        required("supportedInterfaces", Shape::List(&object(&INTERFACE))),
        required("version", TEXT),
    ],
};

const SECURITY_REQUIREMENTS: Shape = Shape::List(&object(&SECURITY_REQUIREMENT));

static INTERFACE: Message = Message {
    fields: &[
        required("protocolBinding", TEXT),
        required("protocolVersion", TEXT),
        plain("tenant", TEXT),
        required("url", TEXT),
    ],
};

static PROVIDER: Message = Message { fields: &[required("organization", TEXT), required("url", TEXT)] };

static CAPABILITIES: Message = Message {
    fields: &[
        tracked("extendedAgentCard", FLAG),
        plain("extensions", Shape::List(&object(&EXTENSION))),
        tracked("pushNotifications", FLAG),
        tracked("streaming", FLAG),
    ],
};

static EXTENSION: Message = Message {
    fields: &[
        plain("description", TEXT),
        tracked("params", Shape::Free),
        plain("required", FLAG),
        plain("uri", TEXT),
    ],
};

static SKILL: Message = Message {
    fields: &[
        required("description", TEXT),
        plain("examples", TEXTS),
        required("id", TEXT),
        plain("inputModes", TEXTS),
        required("name", TEXT),
        plain("outputModes", TEXTS),
        plain("securityRequirements", SECURITY_REQUIREMENTS),
        required("tags", TEXTS),
    ],
};

static SECURITY_REQUIREMENT: Message =
    Message { fields: &[plain("schemes", Shape::Map(&object(&STRING_LIST)))] };

static STRING_LIST: Message = Message { fields: &[plain("list", TEXTS)] };

static SECURITY_SCHEME: Message = Message {
    fields: &[
        tracked("apiKeySecurityScheme", object(&API_KEY)),
        tracked("httpAuthSecurityScheme", object(&HTTP_AUTH)),
        tracked("mtlsSecurityScheme", object(&MTLS)),
        tracked("oauth2SecurityScheme", object(&OAUTH2)),
        tracked("openIdConnectSecurityScheme", object(&OPEN_ID_CONNECT)),
    ],
};

static API_KEY: Message =
    Message { fields: &[plain("description", TEXT), required("location", TEXT), required("name", TEXT)] };

static HTTP_AUTH: Message =
    Message { fields: &[plain("bearerFormat", TEXT), plain("description", TEXT), required("scheme", TEXT)] };

static MTLS: Message = Message { fields: &[plain("description", TEXT)] };

static OAUTH2: Message = Message {
    fields: &[
        plain("description", TEXT),
        required("flows", object(&OAUTH_FLOWS)),
        plain("oauth2MetadataUrl", TEXT),
    ],
};

static OPEN_ID_CONNECT: Message =
    Message { fields: &[plain("description", TEXT), required("openIdConnectUrl", TEXT)] };

static OAUTH_FLOWS: Message = Message {
    fields: &[
        tracked("authorizationCode", object(&AUTHORIZATION_CODE)),
        tracked("clientCredentials", object(&CLIENT_CREDENTIALS)),
        tracked("deviceCode", object(&DEVICE_CODE)),
        tracked("implicit", object(&IMPLICIT)),
        tracked("password", object(&PASSWORD)),
    ],
};

const REFRESH_URL: Field = plain("refreshUrl", TEXT);

static AUTHORIZATION_CODE: Message = Message {
    fields: &[
        required("authorizationUrl", TEXT),
        plain("pkceRequired", FLAG),
        REFRESH_URL,
        required("scopes", TEXT_MAP),
        required("tokenUrl", TEXT),
    ],
};

static CLIENT_CREDENTIALS: Message =
    Message { fields: &[REFRESH_URL, required("scopes", TEXT_MAP), required("tokenUrl", TEXT)] };

static DEVICE_CODE: Message = Message {
    fields: &[
        required("deviceAuthorizationUrl", TEXT),
        REFRESH_URL,
        required("scopes", TEXT_MAP),
        required("tokenUrl", TEXT),
    ],
};

static IMPLICIT: Message =
    Message { fields: &[plain("authorizationUrl", TEXT), REFRESH_URL, plain("scopes", TEXT_MAP)] };

static PASSWORD: Message =
    Message { fields: &[REFRESH_URL, plain("scopes", TEXT_MAP), plain("tokenUrl", TEXT)] };
