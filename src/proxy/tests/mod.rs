mod bodies;
mod events;
