package io.natsune

import io.natsune.internal.Completions
import io.natsune.internal.Handle
import io.natsune.internal.Native
import io.natsune.internal.generated.finishHandle
import io.natsune.internal.generated.startConnect
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext
import kotlinx.coroutines.withTimeout
import kotlinx.coroutines.yield
import kotlin.test.Test
import kotlin.test.assertEquals
import kotlin.test.assertFailsWith
import kotlin.test.assertFalse
import kotlin.test.assertNotNull
import kotlin.test.assertNull
import kotlin.test.assertTrue
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds

/** What is Kotlin's own, against the broker in this process. */
class ClientTest {
    private suspend fun failure(body: suspend () -> Unit): ErrorCode = assertFailsWith<NatsException> { body() }.code

    @Test
    fun `publishes, receives and responds`() =
        withBroker { client, _ ->
            client.subscribe("greet.*").use { subscription ->
                launch { subscription.messages.first().respond("hello") }
                val reply = client.request("greet.joe", "hi", Headers("trace" to "1"))
                assertEquals("hello", reply.text)
                assertEquals(Status.Connected, client.status.value)
            }
        }

    @Test
    fun `a handle of the generated lane publishes through JNI`() =
        withBroker { client, _ ->
            val url = "nats://${client.serverInfo.host}:${client.serverInfo.port}"
            val options = ConnectOptions(servers = listOf(url))
            Handle(Completions.run({ startConnect(it, options) }, ::finishHandle)).use { handle ->
                val subscription = client.subscribe("lanes")
                assertEquals(0, Native.publish(handle.number, "lanes", null, null, "both".encodeToByteArray()))
                assertEquals("both", subscription.next(5.seconds)?.text)
                subscription.close()
            }
        }

    @Test
    fun `cancelling a request leaves nothing behind`() =
        withBroker { client, _ ->
            client.subscribe("silent").use {
                val before = Completions.size
                val request = launch(start = CoroutineStart.UNDISPATCHED) { client.request("silent", timeout = 60.seconds) }
                eventually { client.stats().requestsWaiting == 1L }
                request.cancelAndJoin()
                eventually { client.stats().requestsWaiting == 0L && Completions.size == before }
            }
        }

    @Test
    fun `cancelling an iteration loses no message`() =
        withBroker { client, _ ->
            client.subscribe("numbers").use { subscription ->
                val found = ArrayList<Int>()
                val count = 2_000
                val publishing =
                    launch {
                        repeat(count) {
                            client.publish("numbers", it.toString())
                            if (it % 50 == 0) yield()
                        }
                    }
                while (found.size < count) {
                    val job = launch { subscription.messages.collect { found += it.text.toInt() } }
                    delay(1.milliseconds)
                    job.cancelAndJoin()
                    subscription.next(1.milliseconds)?.let { found += it.text.toInt() }
                }
                publishing.join()
                assertEquals((0 until count).toList(), found)
            }
        }

    @Test
    fun `a cancellation is the coroutine's own`() =
        withBroker { client, _ ->
            val waiting = async(start = CoroutineStart.UNDISPATCHED) { client.subscribe("a").use { it.next() } }
            waiting.cancel()
            assertFailsWith<CancellationException> { waiting.await() }
        }

    @Test
    fun `after close everything is closed, and close again is nothing`() =
        withBroker { client, _ ->
            val url = "nats://${client.serverInfo.host}:${client.serverInfo.port}"
            val other = connect(url)
            val subscription = other.subscribe("a")
            val status = other.status
            val rest = async { subscription.messages.toList() }
            other.close()
            other.close()
            assertEquals(ErrorCode.Closed, failure { other.publish("a") })
            assertEquals(ErrorCode.Closed, failure { other.flush() })
            assertEquals(ErrorCode.Closed, failure { other.subscribe("b") })
            assertNull(other.closed())
            assertTrue(rest.await().isEmpty())
            withTimeout(10.seconds) { status.first { it == Status.Closed } }
            subscription.close()
            subscription.close()
        }

    @Test
    fun `a panic is the failure internal, on both lanes`() =
        withBroker { client, _ ->
            // One thread: the panic is for the next call of the thread that asked for it.
            withContext(Dispatchers.Default.limitedParallelism(1)) {
                NatsTesting.injectPanic()
                assertEquals(ErrorCode.Internal, assertFailsWith<NatsException> { client.tryPublish("a") }.code)
                NatsTesting.injectPanic()
                assertEquals(ErrorCode.Internal, failure { client.flush() })
            }
            client.flush()
        }

    @Test
    fun `a thousand requests are in flight at once`() =
        withBroker { client, _ ->
            client.subscribe("echo").use { subscription ->
                launch { subscription.messages.collect { it.respond(it.data) } }
                val replies = List(1_000) { async { client.request("echo", it.toString(), timeout = 30.seconds).text.toInt() } }
                assertEquals((0 until 1_000).toList(), replies.awaitAll())
            }
        }

    @Test
    fun `a stream is written, consumed and settled`() =
        withBroker { client, _ ->
            val js = client.jetstream()
            val stream =
                js.createStream("JOBS") {
                    subjects("jobs.>")
                    retention = RetentionPolicy.Workqueue
                    maxAge = 60.seconds
                }
            assertEquals(60.seconds, stream.info().config.maxAge)
            assertEquals(1, js.publish("jobs.a", "one", id = "1").sequence)
            assertTrue(js.publish("jobs.a", "one", id = "1").duplicate)
            val consumer =
                stream.createConsumer {
                    durable = "workers"
                    filterSubjects("jobs.>")
                }
            val message = assertNotNull(consumer.next(5.seconds))
            assertEquals("one", message.text)
            message.ackSync()
            assertEquals(ErrorCode.InvalidArgument, failure { message.nak() })
            message.ack()
            assertNull(stream.get(lastFor = "jobs.a"))
            js.publish("jobs.b", "two")
            val consumption = consumer.consume(maxMessages = 10)
            val job = consumption.messages.first()
            job.ack()
            assertEquals("two", job.text)
            assertNull(consumption.next(5.seconds), "the loop that was left stopped it")
        }

    @Test
    fun `secrets are never shown`() {
        val options = ConnectOptions(servers = listOf("nats://joe:secret@host:4222"), password = "secret", token = "secret")
        options.creds = Credentials.text("secret")
        assertFalse("secret" in options.toString(), options.toString())
        assertFalse("secret" in options.creds.toString())
        assertFalse("secret" in TlsOptions(keyPem = "secret").toString())
        assertFalse("secret" in BrokerOptions(password = "secret").toString())
    }
}
