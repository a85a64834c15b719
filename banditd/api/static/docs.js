// Relative, so that the page also works behind a proxy that puts the server under a path.
window.ui = SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  defaultModelsExpandDepth: 0,
  displayRequestDuration: true,
  validatorUrl: null, // otherwise it would ask a server on the internet
});
