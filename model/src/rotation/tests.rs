mod examples;
mod properties;
mod recipients;
mod stored;
mod world;
