import CNatsune
import Foundation
import XCTest

@testable import Natsune

/// What a careless or unlucky caller does: races, absurd values, leaving in the middle.
final class HostileTests: XCTestCase {
    func testATimeoutInTheMomentOfAnArrivalLosesNothing() async throws {
        try await withClient { client in
            let subscription = try await client.subscribe("numbers")
            let count = 2_000
            let publishing = Task {
                // A round trip between two, so that time-outs and arrivals meet.
                for number in 0..<count {
                    try await client.publish("numbers", "\(number)")
                    try await client.flush()
                }
            }
            var seen: [String] = []
            while seen.last != "\(count - 1)" {
                if let message = try await subscription.next(timeout: .microseconds(Int.random(in: 50...500))) {
                    seen.append(message.text)
                }
            }
            try await publishing.value
            XCTAssertEqual(seen, (0..<count).map { "\($0)" })
        }
    }

    func testCountersAreAskedForWhileALoopTakes() async throws {
        try await withClient { client in
            let subscription = try await client.subscribe("counted", maxMessages: 50_000)
            let reading = Task {
                var count: UInt64 = 0
                for try await _ in subscription { count += 1 }
                return count
            }
            let asking = Task.detached {
                while !Task.isCancelled { XCTAssertLessThanOrEqual(try subscription.stats().delivered, 50_000) }
            }
            for _ in 0..<50_000 { try await client.publish("counted", "x") }
            let count = try await reading.value
            asking.cancel()
            try await asking.value
            XCTAssertEqual(count, 50_000)
        }
    }

    func testACancellationIsNeverAnotherErrorAndLeavesNothing() async throws {
        try await withClient { client in
            let service = try await client.subscribe("echo")
            let serving = Task { for try await message in service { try await message.respond(message.data) } }
            let clock = ContinuousClock()
            let start = clock.now
            for _ in 0..<20 { _ = try await client.request("echo", "x") }
            let usual = (clock.now - start) / 20
            for _ in 0..<3_000 {
                let asking = Task.detached { try await client.request("echo", "x", timeout: .seconds(30)).text }
                // About when the reply comes.
                try await Task.sleep(until: clock.now + usual * Double.random(in: 0.3...1.5))
                asking.cancel()
                do {
                    let reply = try await asking.value
                    XCTAssertEqual(reply, "x")
                } catch is CancellationError {}
            }
            serving.cancel()
            _ = await serving.result
            XCTAssertEqual(CompletionQueue.shared.remembered, 0)
        }
    }

    func testWaitingForEventsLeavesNothingInFlight() async throws {
        try await withClient { client in
            let queue = CompletionQueue.shared
            let events = try await client.events()
            let reading = Task { for try await event in events where event.kind == "connected" { return } }
            let first = try checked(natsune_start_wait_writable(queue.number, client.handle.number))
            try await client.reconnect()
            try await reading.value
            let last = try checked(natsune_start_wait_writable(queue.number, client.handle.number))
            for id in (first + 1)..<last {
                XCTAssertEqual(natsune_finish_number(UInt64(id)), -5, "an id was never finished")
            }
            for id in [first, last] { try await queue.wait(UInt64(id)) }
            for id in [first, last] { XCTAssertEqual(natsune_finish_number(UInt64(id)), 0) }
        }
    }

    func testDurationsThatAreNoneAreRefused() async throws {
        try await withClient { client in
            let js = try client.jetstream()
            let stream = try await js.createStream(NatsStreamConfig(name: "S", subjects: ["s"]))
            let consumer = try await stream.createConsumer(NatsConsumerConfig(durable: "d"))
            await assertInvalid("a negative time-out", field: "timeout") {
                _ = try await consumer.next(timeout: .seconds(-1))
            }
            await assertInvalid("a negative time-out", field: "timeout") {
                _ = try await consumer.fetch(1, timeout: .seconds(-1))
            }
            await assertInvalid("a negative time-out", field: "timeout") {
                _ = try await client.request("nobody", timeout: .milliseconds(-5))
            }
            for age in [-1, .nan, .infinity, 1e30] {
                var config = NatsStreamConfig(name: "T", subjects: ["t"])
                config.maxAge = age
                await assertInvalid("\(age) seconds", field: "max_age") { _ = try await js.createStream(config) }
            }
            var config = NatsConsumerConfig(durable: "e")
            config.backoff = [1, -1]
            await assertInvalid("a negative delay", field: "backoff") { _ = try await stream.createConsumer(config) }
            config.backoff = []
            config.startTime = Date(timeIntervalSince1970: 1e300)
            await assertInvalid("the end of time", field: "start_time") { _ = try await stream.createConsumer(config) }
            var options = NatsConnectOptions()
            options.pingInterval = -1
            await assertInvalid("a negative interval", field: "ping_interval") {
                _ = try await NatsClient.connect(options: options)
            }
            // For ever is no mistake.
            let forEver = Duration.seconds(Int64.max)
            do {
                _ = try await client.request("nobody", timeout: forEver)
                XCTFail("nobody answered")
            } catch let error as NatsError {
                XCTAssertEqual(error.code, .noResponders)
            }
            let subscription = try await client.subscribe("late")
            let waiting = Task { try await subscription.next(timeout: forEver)?.text }
            try await client.publish("late", "here")
            let found = try await waiting.value
            XCTAssertEqual(found, "here")
        }
    }

    func testDurationsComeBackAsTheyWere() async throws {
        try await withClient { client in
            let js = try client.jetstream()
            var config = NatsStreamConfig(name: "AGES", subjects: ["ages"])
            for age in [2.3, 0.3, 86_400.1, 1.000_000_001] {
                config.maxAge = age
                config.duplicateWindow = 0.1
                let info = try await js.createOrUpdateStream(config).info()
                XCTAssertEqual(info.config.maxAge, age)
                // The same again is no other configuration.
                _ = try await js.createStream(info.config)
            }
        }
    }

    func testABatchHasRoom() async throws {
        try await withClient { client in
            let subscription = try await client.subscribe("b")
            try await client.publish("b", "x")
            for max in [0, -1, Int.min] {
                await assertInvalid("a batch of \(max)") { for try await _ in subscription.batches(max: max) {} }
            }
            for try await batch in subscription.batches(max: .max) {
                XCTAssertEqual(batch.map(\.text), ["x"])
                break
            }
        }
    }

    func testAFloodCanBeLeft() async throws {
        try await withClient { client in
            let subscription = try await client.subscribe("flood")
            for _ in 0..<5_000 { try client.tryPublish("flood", "x") }
            try await client.flush()
            let reading = Task {
                var count = 0
                withUnsafeCurrentTask { $0?.cancel() }
                do {
                    for try await _ in subscription { count += 1 }
                } catch is CancellationError {}
                return count
            }
            let count = try await reading.value
            XCTAssertEqual(count, 0)
            let stats = try subscription.stats()
            XCTAssertEqual(stats.pending, 5_000)
        }
    }

    func testLeavingByAnErrorOrACancellationSendsWhatWasAccepted() async throws {
        struct Left: Error {}
        let broker = try await NatsBroker.start()
        let url = try broker.url
        let listener = try await NatsClient.connect(url)
        for cancelled in [false, true] {
            let subscription = try await listener.subscribe("left", pendingBytes: 1 << 30)
            let leaving = Task {
                try await withNatsClient(url) { client in
                    for _ in 0..<500 { try client.tryPublish("left", [UInt8](repeating: 7, count: 100_000)) }
                    if cancelled { withUnsafeCurrentTask { $0?.cancel() } } else { throw Left() }
                }
            }
            _ = await leaving.result
            try await listener.flush()
            let received = try subscription.stats().received
            XCTAssertEqual(received, 500, cancelled ? "cancelled" : "thrown")
            try await subscription.unsubscribe()
        }
        try await listener.close()
        try await broker.stop()
    }

    func testAPublishWithoutRoomIsNotSent() async throws {
        for given in [Duration.milliseconds(50), .seconds(3_600)] {
            let broker = try await NatsBroker.start()
            var options = NatsConnectOptions()
            (options.outboundMark, options.publishTimeout) = (1, given.seconds)
            let client = try await NatsClient.connect(try broker.url, options: options)
            let events = try await client.events()
            try await broker.stop()
            for try await event in events { if event.kind == "disconnected" { break } }
            try await client.publish("a", "below the mark")
            if given < .seconds(3_600) {
                do {
                    try await client.publish("a", "x")
                    XCTFail("there was no room")
                } catch let error as NatsError {
                    XCTAssertEqual(error.code, .timeout)
                    XCTAssertEqual(error.applied, .no)
                }
            } else {
                let waiting = Task { try await client.publish("a", "x") }
                waiting.cancel()
                do {
                    try await waiting.value
                    XCTFail("there was no room")
                } catch is CancellationError {}
            }
            XCTAssertEqual(try client.stats().publishes.published, 1)
            try await client.close()
        }
    }

    func testAnAckWithoutADomainHasNone() async throws {
        try await withClient { client in
            let js = try client.jetstream()
            _ = try await js.createStream(NatsStreamConfig(name: "S", subjects: ["s"]))
            let ack = try await js.publish("s", "x")
            XCTAssertEqual(ack, NatsPublishAck(stream: "S", sequence: 1, duplicate: false, domain: nil, value: nil))
        }
    }

    func testSecretsAreInNoText() {
        var options = NatsConnectOptions(creds: .text("SECRET"))
        (options.password, options.token, options.nkeySeed) = ("SECRET", "SECRET", "SECRET")
        options.servers = ["nats://joe:SECRET@host:4222"]
        options.tls = NatsTlsOptions(keyPem: "SECRET")
        options.name = "shown"
        var broker = NatsBrokerOptions()
        (broker.password, broker.token) = ("SECRET", "SECRET")
        let made = NatsCredentialsInfo(
            id: "1", name: "n", namespace: "s", namespaceId: "2", publicKey: "U", created: nil, credsText: "SECRET")
        let all: [Any] = [options, broker, made, NatsCredentials.text("SECRET"), options.tls as Any]
        for document in all {
            var text = "\(document) \(String(reflecting: document))"
            dump(document, to: &text)
            XCTAssertFalse(text.contains("SECRET"), text)
        }
        XCTAssertEqual("\(options)", "NatsConnectOptions(servers: [\"host:4222\"], name: shown)")
    }

    func testCredentialsThatAreAFileAreNotSavedInSilence() async {
        let folder = FileManager.default.temporaryDirectory
        await assertInvalid("a file") { try NatsCredentials.file("user.creds").save(to: folder.path) }
    }

    func testCredentialsAreWrittenForTheirOwnerOnly() throws {
        let files = FileManager.default
        let path = files.temporaryDirectory.appendingPathComponent("\(UUID()).creds").path
        defer { try? files.removeItem(atPath: path) }
        try "older, longer and readable by all".write(toFile: path, atomically: false, encoding: .utf8)
        try files.setAttributes([.posixPermissions: 0o644], ofItemAtPath: path)
        try NatsCredentials.text("secret").save(to: path)
        XCTAssertEqual(try files.attributesOfItem(atPath: path)[.posixPermissions] as? Int, 0o600)
        XCTAssertEqual(try String(contentsOfFile: path, encoding: .utf8), "secret")
        XCTAssertThrowsError(try NatsCredentials.text("secret").save(to: path + "/no/folder")) { error in
            XCTAssertTrue(error is POSIXError, "\(error)")
        }
    }
}

private func assertInvalid(
    _ what: String, field: String? = nil, line: UInt = #line, _ body: () async throws -> Void
) async {
    do {
        try await body()
        XCTFail("\(what) was accepted", line: line)
    } catch let error as NatsError {
        XCTAssertEqual(error.code, .invalidArgument, what, line: line)
        if let field { XCTAssertTrue(error.detailJSON.contains("\"\(field)\""), error.detailJSON, line: line) }
    } catch {
        XCTFail("\(what): \(error)", line: line)
    }
}
