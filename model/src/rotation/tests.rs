mod examples;
mod outside;
mod properties;
mod recipients;
mod stored;
mod world;
