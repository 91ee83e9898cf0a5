// Starts the page's viewer from the data of its element: the policy of the page allows no inline script.
const element = document.querySelector("[data-viewer]");
const options = JSON.parse(element.dataset.options);
// Absolute, because a page opened as https://name:password@host/docs may not fetch relative to itself.
const openapi = new URL(element.dataset.openapi, location.origin).href;
if (element.dataset.viewer === "swagger") {
  const ui = SwaggerUIBundle({ ...options, url: openapi, domNode: element, presets: [SwaggerUIBundle.presets.apis] });
  if (element.dataset.oauth) ui.initOAuth(JSON.parse(element.dataset.oauth));
} else {
  Redoc.init(openapi, options, element);
}
