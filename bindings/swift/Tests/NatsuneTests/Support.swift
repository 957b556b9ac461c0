import Natsune

/// Runs the body with a client of a broker of its own.
func withClient(_ body: @Sendable (NatsClient) async throws -> Void) async throws {
    let broker = try await NatsBroker.start()
    let client = try await NatsClient.connect(try broker.url)
    try await body(client)
    try await client.close()
    try await broker.stop()
}
