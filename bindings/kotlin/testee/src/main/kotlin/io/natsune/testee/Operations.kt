package io.natsune.testee

import io.natsune.Broker
import io.natsune.Client
import io.natsune.ConnectOptions
import io.natsune.Consumer
import io.natsune.Consumption
import io.natsune.Event
import io.natsune.JetStreamMessage
import io.natsune.Message
import io.natsune.NatsException
import io.natsune.NatsTesting
import io.natsune.StoredMessage
import io.natsune.StreamReader
import io.natsune.Subscription
import io.natsune.WhenFull
import io.natsune.connect
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.async
import kotlinx.coroutines.awaitAll
import kotlinx.coroutines.coroutineScope
import kotlinx.coroutines.delay
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.flow.map
import kotlinx.coroutines.flow.takeWhile
import kotlinx.coroutines.launch
import kotlinx.coroutines.withTimeoutOrNull
import kotlinx.serialization.json.JsonObject
import kotlin.time.Duration
import kotlin.time.Duration.Companion.milliseconds
import kotlin.time.Duration.Companion.seconds
import kotlin.time.DurationUnit

/** A client and the events that it gave so far. */
class Connected(
    val client: Client,
) {
    private val events = ArrayList<Event>()

    fun add(event: Event) {
        synchronized(events) { events += event }
    }

    fun take(kind: String): Event? =
        synchronized(events) {
            events.firstOrNull { it.kind == kind }?.also { events.remove(it) }
        }
}

private val nothing = JsonObject(emptyMap())

/** The operations of the core; JetStream's and the broker's are in files of their own. */
class Operations(
    private val testee: Testee,
) {
    private val jetstream = JetStreamOperations(testee)

    private fun client(on: String?): Client = testee.find<Connected>(on).client

    suspend fun run(
        op: String,
        makes: String?,
        on: String?,
        args: Args,
    ): JsonObject {
        when (op) {
            "connect" -> connected(makes, args)
            "next_event" -> return nextEvent(testee.find(on), args)
            "subscribe" -> testee.keep(makes, subscribe(client(on), args))
            "next" -> return next(makes, on, args)
            "collect" -> return collect(on, args)
            "batches" -> return batches(testee.find(on), args)
            "unsubscribe" -> testee.find<Subscription>(on).unsubscribe(args.long("after"))
            "sub_drain" -> testee.find<Subscription>(on).drain()
            "sub_stats" -> return document(testee.find<Subscription>(on).stats())
            "serve" -> serve(testee.find(on), args)
            "respond" -> testee.find<Message>(on).respond(args.payload)
            "settle" -> settle(testee.find(on), args.needed("verb"), args)
            "consumer_next", "fetch", "consume" -> return jetstream.pull(op, makes, testee.find<Consumer>(on), args)
            "consume_stop" -> testee.find<Consumption>(on).stop()
            "consume_drain" -> testee.find<Consumption>(on).drain()
            "panic" -> {
                val client = testee.anyClient()
                NatsTesting.injectPanic()
                if (args.text("export") == "publish") client.tryPublish("panic") else client.flush()
            }
            "broker_start" -> {
                val broker = Broker.start { fill(args) }
                testee.keep(makes, broker)
                return json("url" to broker.url, "monitor_url" to broker.monitorUrl)
            }
            else ->
                return when {
                    op.startsWith("broker_") -> jetstream.broker(op, testee.find<Broker>(on), args)
                    op in JetStreamOperations.names -> jetstream.run(op, makes, client(on).jetstream(), args)
                    else -> run(op, client(on), args)
                }
        }
        return nothing
    }

    private suspend fun run(
        op: String,
        client: Client,
        args: Args,
    ): JsonObject {
        when (op) {
            "close" -> client.close()
            "drain" -> client.drain()
            "reconnect" -> client.reconnect()
            "closed" -> return json("reason" to client.closed())
            "flush" -> return document(client.flush())
            "rtt" -> return json("seconds" to client.rtt().toDouble(DurationUnit.SECONDS))
            "stats" -> return document(client.stats())
            "server_info" -> return document(client.serverInfo)
            "max_payload" -> return json("value" to client.maxPayload)
            "new_inbox" -> return json("value" to client.newInbox())
            "wait_writable" -> client.waitWritable()
            "publish" -> client.publish(args.needed("subject"), args.payload, args.text("reply"), args.headers)
            "try_publish" -> {
                val pressed = client.tryPublish(args.needed("subject"), args.payload, args.text("reply"), args.headers)
                return json("accepted" to if (pressed) "pressure" else "ok")
            }
            "publish_many" -> return publishMany(client, args)
            "request" -> {
                val reply = client.request(args.needed("subject"), args.payload, args.headers, args.span("timeout"))
                return json("message" to message(reply))
            }
            "requests" -> return requests(client, args)
            else -> throw Foreign("unknown operation $op")
        }
        return nothing
    }

    private suspend fun connected(
        makes: String?,
        args: Args,
    ) {
        val made = Connected(connect(ConnectOptions().fill(args)))
        // Undispatched: the events are registered before this operation is answered. It must not keep the client alive.
        val events = made.client.events
        testee.scope.launch(start = CoroutineStart.UNDISPATCHED) {
            try {
                events.collect(made::add)
            } catch (_: NatsException) {
                // Closed: no more will come.
            }
        }
        testee.keep(makes, made)
    }

    private suspend fun nextEvent(
        connected: Connected,
        args: Args,
    ): JsonObject =
        withTimeoutOrNull(args.span("timeout") ?: Duration.ZERO) {
            var event = connected.take(args.needed("kind"))
            while (event == null) {
                delay(2.milliseconds)
                event = connected.take(args.needed("kind"))
            }
            document(event)
        } ?: throw Foreign("no event came")

    private suspend fun subscribe(
        client: Client,
        args: Args,
    ): Subscription =
        client.subscribe(
            args.needed("subject"),
            queue = args.text("queue"),
            pendingMessages = args.long("pending_messages"),
            pendingBytes = args.long("pending_bytes"),
            whenFull =
                when (args.text("when_full")) {
                    "drop_new" -> WhenFull.DropNew
                    "drop_old" -> WhenFull.DropOld
                    else -> null
                },
            maxMessages = args.long("max_messages"),
            confirm = if (args.has("confirm")) args.flag("confirm") else null,
        )

    private suspend fun publishMany(
        client: Client,
        args: Args,
    ): JsonObject {
        val (from, size, count) = listOf("from", "size", "count").map { args.int(it) ?: 0 }
        val subject = args.needed("subject")
        for (number in from until from + count) {
            val data = number.toString().padEnd(size)
            if (args.flag("try")) client.tryPublish(subject, data) else client.publish(subject, data)
        }
        return json("published" to count)
    }

    private suspend fun requests(
        client: Client,
        args: Args,
    ): JsonObject {
        val (count, parallel) = listOf("count", "parallel").map { args.int(it) ?: 1 }
        val results =
            coroutineScope {
                List(parallel) { lane ->
                    async { (lane until count step parallel).map { requested(client, it.toString(), args) } }
                }.awaitAll().flatten()
            }
        val errors = results.filter { it != "ok" && it != "mismatched" }.groupingBy { it }.eachCount()
        return json(
            "ok" to results.count { it == "ok" },
            "mismatched" to results.count { it == "mismatched" },
            "errors" to errors,
        )
    }

    private suspend fun requested(
        client: Client,
        number: String,
        args: Args,
    ): String =
        try {
            val reply = client.request(args.needed("subject"), number, timeout = args.span("timeout"))
            if (reply.text == number) "ok" else "mismatched"
        } catch (failure: NatsException) {
            failure.code.word
        }

    private fun serve(
        subscription: Subscription,
        args: Args,
    ) {
        val fixed = if (args.has("data")) args.payload else null
        testee.scope.launch {
            subscription.messages.collect { it.respond(fixed ?: it.data, args.headers) }
        }
    }

    private suspend fun batches(
        subscription: Subscription,
        args: Args,
    ): JsonObject {
        val wanted = args.int("count") ?: Int.MAX_VALUE
        var count = 0
        var largest = 0
        var ended = false
        withTimeoutOrNull(args.span("timeout") ?: 10.seconds) {
            subscription
                .batches(args.int("max") ?: 256)
                .takeWhile { batch ->
                    count += batch.size
                    largest = maxOf(largest, batch.size)
                    count < wanted
                }.collect {}
            ended = count < wanted
        }
        return json("count" to count, "largest" to largest, "ended" to ended)
    }

    private suspend fun next(
        makes: String?,
        on: String?,
        args: Args,
    ): JsonObject {
        val timeout = args.span("timeout")
        val found: Any? =
            when (val source = testee.any(on)) {
                is Subscription -> source.next(timeout)
                is Consumption -> source.next(timeout)
                is StreamReader -> source.next(timeout)
                else -> throw Foreign("nothing to take the next of")
            }
        if (found != null) testee.keep(makes, found)
        return json("message" to found?.let(::told))
    }

    private fun iterate(on: String?): Flow<Any> =
        when (val source = testee.any(on)) {
            is Subscription -> source.messages.map { it }
            // Leaving its own flow would stop it, and the next collection is to go on.
            is Consumption -> flow { while (true) emit(source.next() ?: break) }
            is StreamReader -> source.messages.map { it }
            else -> throw Foreign("nothing to iterate")
        }

    private suspend fun collect(
        on: String?,
        args: Args,
    ): JsonObject {
        val wanted = args.int("count") ?: Int.MAX_VALUE
        val found = ArrayList<Any>()
        var ended = false
        withTimeoutOrNull(args.span("timeout") ?: 10.seconds) {
            iterate(on)
                .takeWhile { each ->
                    args.text("settle")?.let { settle(each as JetStreamMessage, it, args) }
                    found += each
                    found.size < wanted
                }.collect {}
            ended = found.size < wanted
        }
        if (!args.flag("brief")) return json("messages" to found.map(::told), "ended" to ended)
        val texts = found.map(::text)
        val numbers = texts.map { it.toLongOrNull() }
        return json(
            "count" to found.size,
            "first" to texts.firstOrNull(),
            "last" to texts.lastOrNull(),
            "ordered" to numbers.zipWithNext().all { (one, two) -> one != null && two == one + 1 },
            "ended" to ended,
        )
    }

    private fun text(found: Any): String = (if (found is StoredMessage) found.text else (found as Message).text).trim()

    private fun told(found: Any): JsonObject = if (found is StoredMessage) message(found) else message(found as Message)

    private suspend fun settle(
        message: JetStreamMessage,
        verb: String,
        args: Args,
    ) {
        when (verb) {
            "ack" -> message.ack()
            "nak" -> message.nak(args.span("delay"))
            "term" -> message.term(args.text("reason"))
            "in_progress" -> message.inProgress()
            "ack_sync" -> message.ackSync()
            else -> throw Foreign("no verb is called $verb")
        }
    }
}
