package io.natsune.internal

import io.natsune.ErrorCode
import io.natsune.Event
import io.natsune.NatsException
import io.natsune.Status
import io.natsune.internal.generated.clientState
import io.natsune.internal.generated.finishHandle
import io.natsune.internal.generated.startEvents
import io.natsune.internal.generated.takeEvents
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.ExperimentalForInheritanceCoroutinesApi
import kotlinx.coroutines.SupervisorJob
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.launch

/** The events of a client. The reader is registered before the collection first suspends. */
@OptIn(ExperimentalForInheritanceCoroutinesApi::class)
internal fun eventFlow(client: Handle): Flow<Event> =
    object : Flow<Event> {
        override suspend fun collect(collector: FlowCollector<Event>) {
            Handle(client.run(::startEvents, ::finishHandle)).use { read(it, collector) }
        }
    }

private suspend fun read(
    events: Handle,
    collector: FlowCollector<Event>,
) {
    while (true) {
        val taken = events.ask { takeEvents(it, 64) }
        for (event in taken.events) collector.emit(event)
        if (taken.events.isNotEmpty()) continue
        if (taken.ended) return
        Completions.number(checked(Native.startReady(Completions.queue, events.number)))
    }
}

/** Follows the state of a client. It keeps the client's events, not the client, which may be forgotten. */
internal class StatusWatch(
    client: Handle,
) {
    private val state = MutableStateFlow(Status.Closed)
    val status: StateFlow<Status> get() = state

    init {
        try {
            // Registered before it is asked: nothing that happens in between is missed.
            val registered = client.ask { startEvents(Completions.queue, it) }
            state.value = client.ask { status(clientState(it)) }
            scope.launch(start = CoroutineStart.UNDISPATCHED) { follow(registered, state) }
        } catch (failure: NatsException) {
            if (failure.code != ErrorCode.Closed) throw failure
        }
    }

    fun draining() {
        if (state.value != Status.Closed) state.value = Status.Draining
    }

    private companion object {
        val scope = CoroutineScope(SupervisorJob() + Dispatchers.Default)

        suspend fun follow(
            registered: Long,
            state: MutableStateFlow<Status>,
        ) {
            try {
                Completions.await(registered)
                Handle(control { finishHandle(registered) }).use { events ->
                    read(events) { event ->
                        when (event.kind) {
                            "connected" -> state.value = Status.Connected
                            "disconnected", "reconnecting" -> state.value = Status.Reconnecting
                        }
                    }
                }
            } catch (_: NatsException) {
                // The client is closed: as below.
            }
            state.value = Status.Closed
        }

        fun status(word: String): Status =
            when (word) {
                "connected" -> Status.Connected
                "draining" -> Status.Draining
                "closed" -> Status.Closed
                else -> Status.Reconnecting
            }
    }
}
