import Foundation
import Natsune
import XCTest

/// What is Swift's own: cancellation, lifetime, the wall. Behaviour that all languages share is in the scenarios.
final class ClientTests: XCTestCase {
    func testTaskCancellationReachesARequest() async throws {
        try await withClient { client in
            let silent = try await client.subscribe("silent")
            let asked = Task { try await client.request("silent", "x", timeout: .seconds(60)) }
            let received = try await silent.next(timeout: .seconds(10))
            XCTAssertNotNil(received)
            asked.cancel()
            do {
                _ = try await asked.value
                XCTFail("a cancelled request must not give a reply")
            } catch is CancellationError {}
            XCTAssertEqual(try client.stats().requestsWaiting, 0)
        }
    }

    func testCancelledNextLosesNothing() async throws {
        try await withClient { client in
            let subscription = try await client.subscribe("numbers")
            for number in 0..<200 {
                let waiting = Task { try await subscription.next() }
                if number % 2 == 0 { waiting.cancel() }
                try await client.publish("numbers", "\(number)")
                _ = try? await waiting.value
            }
            try await client.publish("numbers", "end")
            // Those that the cancelled ones left behind, then the end.
            while let message = try await subscription.next(timeout: .seconds(10)) {
                if message.text == "end" { break }
            }
            let stats = try subscription.stats()
            XCTAssertEqual(stats.dropped, 0)
            XCTAssertEqual(stats.delivered, 201)
        }
    }

    func testLeavingALoopLosesNothing() async throws {
        try await withClient { client in
            let subscription = try await client.subscribe("loop")
            for number in 0..<600 { try client.tryPublish("loop", "\(number)") }
            var seen: [String] = []
            while seen.count < 600 {
                for try await message in subscription {
                    seen.append(message.text)
                    if seen.count % 7 == 0 || seen.count == 600 { break }
                }
            }
            XCTAssertEqual(seen, (0..<600).map { "\($0)" })
        }
    }

    func testLeavingALoopOverAConsumeStopsIt() async throws {
        try await withClient { client in
            let js = try client.jetstream()
            let stream = try await js.createStream(NatsStreamConfig(name: "JOBS", subjects: ["jobs"]))
            for number in 0..<3 { _ = try await js.publish("jobs", "\(number)") }
            let jobs = try await stream.createConsumer(NatsConsumerConfig(durable: "worker")).consume()
            for try await job in jobs {
                XCTAssertEqual(job.text, "0")
                try job.ack()
                break
            }
            let after = try await jobs.next(timeout: .seconds(10))
            XCTAssertNil(after)
        }
    }

    func testAThousandRequestsAtOnce() async throws {
        try await withClient { client in
            let service = try await client.subscribe("echo")
            let serving = Task { for try await message in service { try await message.respond(message.data) } }
            try await withThrowingTaskGroup(of: Void.self) { group in
                for number in 0..<1000 {
                    group.addTask {
                        let reply = try await client.request("echo", "\(number)", timeout: .seconds(30))
                        XCTAssertEqual(reply.text, "\(number)")
                    }
                }
                try await group.waitForAll()
            }
            serving.cancel()
        }
    }

    func testAPanicInsideIsTheErrorInternal() async throws {
        try await withClient { client in
            NatsTesting.injectPanic()
            XCTAssertThrowsError(try client.tryPublish("x")) { error in
                XCTAssertEqual((error as? NatsError)?.code, .internal)
            }
            try client.tryPublish("x")
        }
    }

    func testEverythingAfterCloseIsClosed() async throws {
        let broker = try await NatsBroker.start()
        let client = try await NatsClient.connect(try broker.url)
        try await client.close()
        try await client.close()
        XCTAssertThrowsError(try client.tryPublish("x")) { XCTAssertEqual(($0 as? NatsError)?.code, .closed) }
        try await broker.stop()
        try await broker.stop()
    }

    func testHeadersAreOrderedAndHaveSeveralValues() {
        var headers: NatsHeaders = ["a": "1"]
        headers.append("A", "2")
        headers.append("a", "3")
        XCTAssertEqual(headers.values("a"), ["1", "3"])
        XCTAssertEqual(headers.get("A"), "2")
        headers.set("a", "4")
        XCTAssertEqual(headers.map { "\($0.name)=\($0.value)" }, ["A=2", "a=4"])
        headers.delete("A")
        XCTAssertNil(headers.get("A"))
    }

    func testCredentialsAreNeverShown() {
        let credentials = NatsCredentials.text("SECRET")
        XCTAssertFalse("\(credentials) \(String(reflecting: credentials))".contains("SECRET"))
    }
}
