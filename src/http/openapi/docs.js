// Addresses are relative to the page: an issuer may have a path. Nothing is asked of anyone else, a validator least of all, and
// what is typed as a credential is gone with the page.
window.onload = () =>
  SwaggerUIBundle({
    url: "openapi.json",
    dom_id: "#api",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    presets: [SwaggerUIBundle.presets.apis],
    layout: "BaseLayout",
    persistAuthorization: false,
    validatorUrl: null,
  });
