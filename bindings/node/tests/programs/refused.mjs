/** An error that nobody catches looks like any other. */
import { connect } from "natsune";

await connect("nats://127.0.0.1:1", { connectTimeout: 500 });
