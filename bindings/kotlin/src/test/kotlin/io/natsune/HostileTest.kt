package io.natsune

import kotlinx.coroutines.CoroutineDispatcher
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.runBlocking
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.yield
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive
import java.net.URI
import java.nio.file.Files
import java.nio.file.attribute.PosixFilePermissions
import kotlin.coroutines.CoroutineContext
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertNotNull
import kotlin.test.assertTrue
import kotlin.time.Duration
import kotlin.time.Duration.Companion.hours
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** What a careless or unlucky caller does: absurd values, broken dispatchers, forgotten clients, races. */
class HostileTest {
    private suspend fun invalid(
        what: String,
        body: suspend () -> Unit,
    ) = assertEquals(ErrorCode.InvalidArgument, assertFailsWith<NatsException>(what) { body() }.code, what)

    @Test
    fun `what cannot be is an invalid argument on both lanes`() =
        withBroker { client, _ ->
            val js = client.jetstream()
            val stream = js.createStream("S") { subjects("s") }
            val consumer = stream.createConsumer { durable = "d" }
            invalid("fewer than none") { consumer.fetch(-1) }
            invalid("a negative time-out") { consumer.fetch(1, timeout = (-1).seconds) }
            invalid("a negative time-out") { consumer.next((-1).seconds) }
            invalid("a negative time-out") { client.request("nobody", timeout = (-1).seconds) }
            invalid("a negative bound") { client.subscribe("a", pendingMessages = -1) }
            invalid("a negative count") { client.subscribe("a").use { it.unsubscribe(-1) } }
            invalid("a negative sequence") { stream.get(-1) }
            invalid("a negative age") { js.createStream("T") { maxAge = (-1).seconds } }
            invalid("a port that is none") { Broker.start { port = 70_000 } }
            invalid("a batch without room") { client.subscribe("a").use { it.batches(0) } }
            val half = "a\uD800"
            invalid("half a character") { client.publish(half) }
            invalid("half a character") { client.subscribe(half) }
            invalid("half a character") { client.publish("a", "x", headers = Headers("k" to half)) }
            invalid("half a character") { js.publish("s", "x", id = half) }
            // For ever is no mistake.
            val late = client.subscribe("late")
            val waiting = async(start = CoroutineStart.UNDISPATCHED) { late.next(Duration.INFINITE)?.text }
            client.publish("late", "here")
            assertEquals("here", waiting.await())
            assertEquals(
                ErrorCode.NoResponders,
                assertFailsWith<NatsException> { client.request("nobody", timeout = Duration.INFINITE) }.code,
            )
        }

    /** Takes coroutines until it is broken. */
    private class Dispatcher : CoroutineDispatcher() {
        @Volatile
        var broken = false

        override fun dispatch(
            context: CoroutineContext,
            block: Runnable,
        ) {
            check(!broken) { "this dispatcher is broken" }
            Dispatchers.Default.dispatch(context, block)
        }
    }

    @Test
    fun `a dispatcher that breaks harms nobody else`() =
        withBroker { client, _ ->
            client.subscribe("ask").use { questions ->
                val dispatcher = Dispatcher()
                CoroutineScope(dispatcher).launch { client.request("ask", timeout = 30.seconds) }
                val question = assertNotNull(questions.next(10.seconds))
                dispatcher.broken = true
                question.respond("never read")
                // The reply was there when this comes back.
                repeat(10) { client.flush() }
            }
        }

    private suspend fun forget(
        url: String,
        use: (Client) -> Unit,
    ) = use(connect(url))

    @Test
    fun `a client that is forgotten is closed`() =
        runBlocking(Dispatchers.Default) {
            Broker.start { monitorPort = 0 }.use { broker ->
                val page = URI("${broker.monitorUrl}/varz").toURL()

                fun connected() =
                    Json
                        .parseToJsonElement(page.readText())
                        .jsonObject
                        .getValue("connections")
                        .jsonPrimitive.int
                forget(broker.url) {}
                forget(broker.url) { assertEquals(Status.Connected, it.status.value) }
                assertEquals(2, connected())
                eventually {
                    System.gc()
                    connected() == 0
                }
            }
        }

    @Test
    fun `the status follows the client`() =
        withBroker { client, url ->
            val other = connect(url)
            assertEquals(Status.Connected, other.status.value)
            other.drain()
            other.status.first { it == Status.Closed }
            other.close()
            val closed = connect(url)
            closed.close()
            assertEquals(Status.Closed, closed.status.value)
            client.flush()
        }

    @Test
    fun `counters are asked for while a loop takes`() =
        withBroker { client, _ ->
            val count = 50_000
            client.subscribe("counted").use { subscription ->
                val reading =
                    async {
                        subscription.messages
                            .take(count)
                            .toList()
                            .size
                    }
                val asking =
                    List(4) {
                        async {
                            var before = 0L
                            while (!reading.isCompleted) {
                                val handedOut = subscription.stats().delivered
                                assertTrue(handedOut >= before, "$handedOut after $before")
                                before = handedOut
                                yield()
                            }
                        }
                    }
                repeat(count) { client.publish("counted") }
                assertEquals(count, reading.await())
                asking.awaitAll()
            }
        }

    @Test
    fun `a publish without room is not sent, whether its time is over or it is cancelled`() =
        runBlocking(Dispatchers.Default) {
            withTimeout(60.seconds) {
                for (given in listOf(50.milliseconds, 1.hours)) {
                    val broker = Broker.start()
                    val client =
                        connect(broker.url) {
                            outboundMark = 1L
                            publishTimeout = given
                        }
                    broker.stop()
                    client.status.first { it == Status.Reconnecting }
                    client.publish("a", "below the mark")
                    if (given < 1.hours) {
                        val failure = assertFailsWith<NatsException> { client.publish("a", "x") }
                        assertEquals(ErrorCode.Timeout to Applied.No, failure.code to failure.applied)
                    } else {
                        val waiting = launch(start = CoroutineStart.UNDISPATCHED) { client.publish("a", "x") }
                        assertTrue(waiting.isActive)
                        waiting.cancelAndJoin()
                    }
                    assertEquals(1L, client.stats().publishes.published)
                    client.close()
                }
            }
        }

    @Test
    fun `what was closed here is closed for who waits for it`() =
        withBroker { client, _ ->
            val subscription = client.subscribe("a")
            subscription.close()
            subscription.closed()
            val js = client.jetstream()
            val consumer = js.createStream("S") { subjects("s") }.createConsumer { durable = "d" }
            val consumption = consumer.consume()
            consumption.stop()
            consumption.closed()
        }

    @Test
    fun `credentials are written for their owner only`() {
        val file = Files.createTempFile("natsune", ".creds")
        try {
            Files.writeString(file, "older, longer and readable by all")
            Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-r--r--"))
            Credentials.text("secret").save(file)
            assertEquals("rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(file)))
            assertEquals("secret", Files.readString(file))
            runBlocking { invalid("a file already") { Credentials.file(file).save(file) } }
        } finally {
            Files.delete(file)
        }
    }

    @Test
    fun `a failure is unchecked`() {
        assertTrue(RuntimeException::class.java.isAssignableFrom(NatsException::class.java))
    }
}
