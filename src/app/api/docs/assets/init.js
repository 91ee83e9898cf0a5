// Starts the page's viewer with the data of its element: the page's policy allows no inline script.
const element = document.querySelector("[data-viewer]");
const options = JSON.parse(element.dataset.options);
// Absolute, because a page opened as https://name:password@host/docs may not fetch relative to itself.
const openapi = new URL(element.dataset.openapi, location.origin).href;
// Swagger UI stores a login in the browser with everything that was entered; the access token is enough.
const storeNoPassword = (authorize) => ({ auth, token }) => authorize({ auth: { ...auth, password: "" }, token });
const plugin = { statePlugins: { auth: { wrapActions: { authorizeOauth2: storeNoPassword } } } };
if (element.dataset.viewer === "swagger") {
  const presets = [SwaggerUIBundle.presets.apis];
  const ui = SwaggerUIBundle({ ...options, url: openapi, domNode: element, presets, plugins: [plugin] });
  if (element.dataset.oauth) ui.initOAuth(JSON.parse(element.dataset.oauth));
} else {
  Redoc.init(openapi, options, element);
}
