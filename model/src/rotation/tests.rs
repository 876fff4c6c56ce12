mod examples;
mod properties;
mod stored;
mod world;
