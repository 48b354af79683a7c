// Begins the page of /docs: which document it shows, and how its forms begin.

window.onload = () => {
  // Swagger UI fills the fields of a form with samples, which would be sent; one that is empty is left out.
  const emptyForms = () => ({
    afterLoad() {
      const sample = this.fn.getSampleSchema;
      this.fn.getSampleSchema = (schema, type, ...more) => {
        if (type !== false) return sample(schema, type, ...more);
        return this.fn.getSchemaObjectType(schema) === "array" ? "[]" : "";
      };
    },
  });
  window.ui = SwaggerUIBundle({
    url: "../openapi.yaml",
    dom_id: "#swagger-ui",
    deepLinking: true,
    layout: "StandaloneLayout",
    presets: [SwaggerUIBundle.presets.apis, SwaggerUIStandalonePreset],
    plugins: [SwaggerUIBundle.plugins.DownloadUrl, emptyForms],
    tryItOutEnabled: true,
    // The badge would call a public server.
    validatorUrl: "none",
  });
};
