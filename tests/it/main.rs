mod channels;
mod servers;
