mod bodies;
mod events;
mod relay;
